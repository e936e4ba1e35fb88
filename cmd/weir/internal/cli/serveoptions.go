package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/weirstream/weir/internal/meta"
)

// durabilities are the modes, and what an acknowledgement with acks=all means
// in each.
var durabilities = map[string]string{
	"sync": "acknowledged with acks=all survives a power loss",
	"os":   "acknowledged survives a killed process, not a power loss",
}

// serveOptions is how serve runs: the flags over the configuration file over
// the defaults.
type serveOptions struct {
	Data       string
	Listen     []string
	Durability string
	OnFailure  string // exit or readonly
	Admin      string
	Insecure   bool
	LogLevel   slog.Level
	Settings   map[string]string
}

// serveFlags is what the command line says.
type serveFlags struct {
	serveOptions
	logLevel string
	settings []string
	file     string
}

func (f *serveFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.Data, "data", "./weir-data", "data directory; made if it does not exist")
	flags.StringArrayVar(&f.Listen, "listen", []string{defaultBroker}, "address for clients, host:port; may be repeated; localhost is IPv4 and IPv6, port 0 any that is free")
	flags.StringVar(&f.Durability, "durability", "sync", "sync: "+durabilities["sync"]+"; os: "+durabilities["os"])
	flags.StringVar(&f.OnFailure, "on-storage-error", "exit", "when a write or sync fails: exit (code 74), or readonly to serve what is durable")
	flags.StringArrayVar(&f.settings, "config", nil, "a broker setting by Kafka's name, KEY=VALUE; may be repeated")
	flags.StringVar(&f.file, "config-file", "", "YAML file with the same keys as the other flags")
	flags.StringVar(&f.Admin, "admin", "", "address for /healthz, /readyz, /metrics, pprof and weir backup; loopback only")
	flags.BoolVar(&f.Insecure, "insecure", false, "allow --listen on addresses that others can reach, without TLS and authentication")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	must(cmd.RegisterFlagCompletionFunc("durability", cobra.FixedCompletions([]string{"sync", "os"}, cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("on-storage-error", cobra.FixedCompletions([]string{"exit", "readonly"}, cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.MarkFlagDirname("data"))
	must(cmd.MarkFlagFilename("config-file", "yaml", "yml"))
}

// options merges and checks everything before anything is opened.
func (f *serveFlags) options(set *pflag.FlagSet) (serveOptions, error) {
	o := f.serveOptions
	o.Settings = map[string]string{}
	level := f.logLevel
	var inFile []string
	if f.file != "" {
		var err error
		if inFile, err = o.merge(f.file, &level, set.Changed); err != nil {
			return o, err
		}
	}
	settings, err := keyValues("--config", f.settings)
	if err != nil {
		return o, err
	}
	for key, value := range settings {
		o.Settings[key] = *value
	}
	source := f.source(set.Changed, inFile)
	if err := o.LogLevel.UnmarshalText([]byte(level)); err != nil {
		return o, usagef("%s %s: want debug, info, warn or error", source("log-level"), level)
	}
	return o, o.check(source)
}

// source says where the value of a key comes from, for the errors about it.
func (f *serveFlags) source(flagSet func(string) bool, inFile []string) func(string) string {
	return func(key string) string {
		if slices.Contains(inFile, key) && !flagSet(key) {
			return fmt.Sprintf("configuration file %s: %s", f.file, key)
		}
		return "--" + key
	}
}

func (o *serveOptions) check(source func(string) string) error {
	if _, ok := durabilities[o.Durability]; !ok {
		return usagef("%s %s: want sync or os", source("durability"), o.Durability)
	}
	if o.OnFailure != "exit" && o.OnFailure != "readonly" {
		return usagef("%s %s: want exit or readonly", source("on-storage-error"), o.OnFailure)
	}
	if o.Data == "" {
		return usagef("%s is empty: name a directory", source("data"))
	}
	if len(o.Listen) == 0 {
		return usagef("%s: no address to listen on", source("listen"))
	}
	for _, address := range o.Listen {
		if err := checkAddress(source("listen"), address); err != nil {
			return err
		}
		if !loopback(address) && !o.Insecure {
			return usagef("%s %s can be reached from other machines, and there is no TLS and no authentication: listen on localhost, or say --insecure", source("listen"), address)
		}
	}
	if o.Admin != "" {
		if err := checkAddress(source("admin"), o.Admin); err != nil {
			return err
		}
		if !loopback(o.Admin) {
			return usagef("%s %s can be reached from other machines, and profiles and metrics are shown to anyone who asks: use a loopback address, such as localhost:9644", source("admin"), o.Admin)
		}
	}
	if _, err := meta.ParseSettings(o.Settings); err != nil {
		return usagef("--config: %w", err)
	}
	return nil
}

// serveFile is the configuration file.
type serveFile struct {
	Data       *string           `yaml:"data"`
	Listen     yaml.Node         `yaml:"listen"` // one address or a list
	Durability *string           `yaml:"durability"`
	OnFailure  *string           `yaml:"on-storage-error"`
	Admin      *string           `yaml:"admin"`
	Insecure   *bool             `yaml:"insecure"`
	LogLevel   *string           `yaml:"log-level"`
	Config     map[string]string `yaml:"config"`
}

var serveFileKeys = []string{"admin", "config", "data", "durability", "insecure", "listen", "log-level", "on-storage-error"}

// merge takes from the file what no flag has set, and returns the keys it holds.
func (o *serveOptions) merge(name string, level *string, flagSet func(string) bool) (keys []string, err error) {
	file, err := readServeFile(name)
	if err != nil {
		return nil, &exitError{ExitUsage, fmt.Errorf("configuration file %s: %w", name, err)}
	}
	text := func(flag string, to, from *string) {
		if from != nil {
			keys = append(keys, flag)
		}
		if from != nil && !flagSet(flag) {
			*to = *from
		}
	}
	text("data", &o.Data, file.Data)
	text("durability", &o.Durability, file.Durability)
	text("on-storage-error", &o.OnFailure, file.OnFailure)
	text("admin", &o.Admin, file.Admin)
	text("log-level", level, file.LogLevel)
	if file.Insecure != nil && !flagSet("insecure") {
		o.Insecure = *file.Insecure
	}
	if !file.Listen.IsZero() {
		keys = append(keys, "listen")
	}
	if !file.Listen.IsZero() && !flagSet("listen") {
		o.Listen = nil
		if file.Listen.Kind == yaml.ScalarNode {
			o.Listen = []string{file.Listen.Value}
		} else if err := file.Listen.Decode(&o.Listen); err != nil {
			return nil, usagef("configuration file %s: listen: want an address or a list of them", name)
		}
	}
	for key, value := range file.Config {
		o.Settings[key] = value
	}
	if _, err := meta.ParseSettings(file.Config); err != nil {
		return nil, usagef("configuration file %s: config: %w", name, err)
	}
	return keys, nil
}

// readServeFile refuses what it does not know: a misspelt key would otherwise
// be a setting that is silently not in force.
func readServeFile(name string) (*serveFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	const most = 1 << 20
	content, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if len(content) > most {
		return nil, fmt.Errorf("larger than %d bytes", most)
	}
	return parseServeFile(content)
}

func parseServeFile(content []byte) (*serveFile, error) {
	file := &serveFile{}
	var doc yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return file, nil // empty
	} else if err != nil {
		return nil, err
	}
	if err := decoder.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one YAML document")
	}
	top := doc.Content[0]
	if top.Kind == yaml.ScalarNode && top.Tag == "!!null" {
		return file, nil // only comments
	}
	if top.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: want keys and values (%s)", top.Line, strings.Join(serveFileKeys, ", "))
	}
	for i := 0; i < len(top.Content); i += 2 {
		if key := top.Content[i]; !slices.Contains(serveFileKeys, key.Value) {
			return nil, fmt.Errorf("line %d: unknown key %q; there are %s, and broker settings belong under config",
				key.Line, key.Value, strings.Join(serveFileKeys, ", "))
		}
	}
	return file, top.Decode(file)
}
