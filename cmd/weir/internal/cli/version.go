package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is the module's version, or for a build from a checkout "devel" with
// the revision it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			revision = "-" + s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	return "devel" + revision + dirty
}

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version",
		Args: positional(0, 0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			if a.output == "table" {
				_, err := fmt.Fprintf(a.Stdout, "weir %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
				return err
			}
			list := newListing("Version", column{name: "version"}, column{name: "go"}, column{name: "os"}, column{name: "arch"})
			list.add(nil, version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return a.print(list)
		},
	}
	return a.outputFlag(cmd, "table")
}
