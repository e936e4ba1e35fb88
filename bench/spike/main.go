package main

import (
	"cmp"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weirstream/weir/internal/vfs"
)

type settings struct {
	dir          string
	journalFile  int64 // bytes of one file of the journal
	appenders    int
	duration     time.Duration
	reserve      int64 // bytes by which a partition's file is preallocated
	flush        time.Duration
	syncAllAbove int // dirty files from which on a checkpoint syncs the file system
}

// measurement is one round of one way.
type measurement struct {
	mbPerSecond      float64
	appendsPerSecond float64
	cpuMillisPerMB   float64
	syncsPerSecond   float64
	p50, p99         float64 // milliseconds from append to durable
}

// way appends a batch to a partition and returns when it is durable.
type way interface {
	append(partition int, batch []byte)
	// finish makes everything durable in the partitions' files.
	finish()
}

func main() {
	log.SetFlags(0)
	var s settings
	var partitions, sizes, ways string
	var rounds int
	flag.StringVar(&s.dir, "dir", ".", "directory on the disk to measure")
	flag.Int64Var(&s.journalFile, "journal-file", 64<<20, "bytes of one file of the journal")
	flag.IntVar(&s.appenders, "appenders", 64, "appends in flight")
	flag.DurationVar(&s.duration, "for", 2*time.Second, "time of one round of one way")
	flag.Int64Var(&s.reserve, "reserve", 0, "preallocate partitions' files by so many bytes")
	flag.IntVar(&s.syncAllAbove, "syncall-above", 64, "dirty files from which on a checkpoint syncs the whole file system")
	flag.DurationVar(&s.flush, "flush", 0, "time a flush takes on top of the disk's own, as on a disk without a protected cache")
	flag.IntVar(&rounds, "rounds", 5, "rounds")
	flag.StringVar(&partitions, "partitions", "1,100,1000", "numbers of partitions")
	flag.StringVar(&sizes, "sizes", "16384,262144", "batch sizes in bytes")
	flag.StringVar(&ways, "ways", "file,journal,reference", "what to measure")
	flag.Parse()

	names := strings.Split(ways, ",")
	fmt.Println("| partitions | batch | way | MB/s | appends/s | CPU ms/MB | syncs/s | p50 ms | p99 ms | rate | CPU |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|")
	for _, n := range numbers(partitions) {
		for _, size := range numbers(sizes) {
			got := map[string][]measurement{}
			for round := range rounds {
				for i := range names {
					name := names[(round+i)%len(names)]
					got[name] = append(got[name], run(s, name, n, size))
				}
			}
			for _, name := range names {
				row(n, size, name, median(got[name]), median(got[names[0]]))
			}
		}
	}
}

func numbers(list string) []int {
	var out []int
	for _, field := range strings.Split(list, ",") {
		n, err := strconv.Atoi(field)
		check(err)
		out = append(out, n)
	}
	return out
}

func row(partitions, size int, name string, m, base measurement) {
	fmt.Printf("| %d | %d KiB | %s | %.0f | %.0f | %.2f | %.0f | %.1f | %.1f | %.2f× | %.2f× |\n",
		partitions, size>>10, name, m.mbPerSecond, m.appendsPerSecond, m.cpuMillisPerMB, m.syncsPerSecond,
		m.p50, m.p99, m.mbPerSecond/base.mbPerSecond, m.cpuMillisPerMB/base.cpuMillisPerMB)
}

// median takes the median of each figure on its own.
func median(all []measurement) measurement {
	of := func(get func(measurement) float64) float64 {
		v := make([]float64, len(all))
		for i, m := range all {
			v[i] = get(m)
		}
		return percentile(v, 0.5)
	}
	return measurement{
		mbPerSecond:      of(func(m measurement) float64 { return m.mbPerSecond }),
		appendsPerSecond: of(func(m measurement) float64 { return m.appendsPerSecond }),
		cpuMillisPerMB:   of(func(m measurement) float64 { return m.cpuMillisPerMB }),
		syncsPerSecond:   of(func(m measurement) float64 { return m.syncsPerSecond }),
		p50:              of(func(m measurement) float64 { return m.p50 }),
		p99:              of(func(m measurement) float64 { return m.p99 }),
	}
}

func percentile[T cmp.Ordered](v []T, p float64) T {
	slices.Sort(v)
	return v[int(float64(len(v)-1)*p)]
}

// run does one round: 64 appenders, each waiting for its batch to be durable
// before it sends the next one to another partition.
func run(s settings, name string, partitions, size int) measurement {
	fs := vfs.OS()
	dir := filepath.Join(s.dir, fmt.Sprintf("spike-%d", os.Getpid()))
	check(fs.MkdirAll(dir))
	defer func() {
		check(fs.RemoveAll(dir))
		check(fs.SyncAll(s.dir)) // nothing is left to write in somebody else's round
	}()
	d := newDisk(fs, s.flush)
	w := open(fs, dir, name, partitions, s, d)
	check(fs.SyncAll(dir))

	cpu, start := cpuTime(), time.Now()
	deadline := start.Add(s.duration)
	waits := make([][]time.Duration, s.appenders)
	var wg sync.WaitGroup
	for a := range s.appenders {
		wg.Go(func() {
			batch := make([]byte, size)
			for i := range batch {
				batch[i] = byte(i * (a + 1))
			}
			for n := 0; ; n++ {
				before := time.Now()
				if before.After(deadline) {
					return
				}
				w.append((a*7919+n*104729)%partitions, batch)
				waits[a] = append(waits[a], time.Since(before))
			}
		})
	}
	wg.Wait()
	w.finish()
	seconds := time.Since(start).Seconds()
	cpu = cpuTime() - cpu

	all := slices.Concat(waits...)
	mb := float64(len(all)) * float64(size) / 1e6
	return measurement{
		mbPerSecond:      mb / seconds,
		appendsPerSecond: float64(len(all)) / seconds,
		cpuMillisPerMB:   cpu.Seconds() * 1e3 / mb,
		syncsPerSecond:   float64(d.syncs.Load()) / seconds,
		p50:              percentile(all, 0.5).Seconds() * 1e3,
		p99:              percentile(all, 0.99).Seconds() * 1e3,
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
