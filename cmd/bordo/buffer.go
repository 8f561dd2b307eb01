package main

import (
	"context"
	"errors"
	"flag"
	"io/fs"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"bordo/agent/api"
	"bordo/agent/archive"
	"bordo/agent/config"
	"bordo/agent/control"
	"bordo/agent/owner"
	"bordo/agent/record"
	"bordo/buffer"
)

func bufferCommand(l *langValue) command {
	return command{
		name:  "buffer",
		brief: phrase("what lies in the store: its size, its records, whether it is whole").in(l),
		takes: phrase("stat|list|export|verify [DIR]").in(l),
		most:  2,
		complete: func(args []string) []string {
			if len(args) == 0 {
				return []string{"stat", "list", "export", "verify"}
			}
			return nil
		},
		text: phrase(`Looks into the store of the configuration, or of DIR: through the agent where it runs, and otherwise by itself. It only
reads. Personal data (class card, devices marked personal) is counted, never shown.

  stat     how much there is, how much of it waits for the broker, gaps, limits
  list     which records there are: the first --limit of them, or with --newest the last
  export   the records, one line each, as the messages of the contract (samples as on hist, the rest as on event)
  verify   reads every block and tells what is damaged and what to do; exit code 1 when something is

  bordo buffer list --newest --device meter-1 --limit 20
  bordo buffer export --class reading --from 2026-03-01 --to 2026-03-07 > week.jsonl
  bordo buffer export --class interval --month 2026-03 --csv > march.csv

The last one makes a table: one row for each quarter of an hour of the site's month and each counter, with the highest
revision. All quarters of the month are there (2,972 in March 2026 in Rome); where nothing is known the row is empty behind its times.`).in(l),
		flags: func(set *flag.FlagSet) action {
			o := &bufferOptions{lang: l}
			langFlag(set, l)
			o.flags(set)
			return func(ctx context.Context, c console, operands []string) error {
				ctx, stop := stoppable(ctx)
				defer stop()
				return o.run(ctx, c, set, operands)
			}
		},
	}
}

// bufferOptions are the flags of bordo buffer.
type bufferOptions struct {
	path                           string
	lang                           *langValue
	json, csv, newest              bool
	class, device, from, to, month string
	epoch, seq                     string
	limit                          int
}

func (o *bufferOptions) flags(set *flag.FlagSet) {
	set.StringVar(&o.path, "config", defaultConfig, phrase("the configuration `FILE` of the node").in(o.lang))
	set.BoolVar(&o.json, "json", false, phrase("stat, list, verify: print it as JSON").in(o.lang))
	set.StringVar(&o.class, "class", "",
		phrase("list, export: only these `CLASSES`: event, interval, reading, with commas between them").in(o.lang))
	set.StringVar(&o.device, "device", "", phrase("list, export: only the records of this `DEVICE`").in(o.lang))
	set.StringVar(&o.from, "from", "", phrase("list, export: from this `TIME` on: 2026-03-01 or 2026-03-01T10:30 in the site's time").in(o.lang))
	set.StringVar(&o.to, "to", "", phrase("list, export: up to this `TIME`; a day counts to its end").in(o.lang))
	set.StringVar(&o.month, "month", "", phrase("list, export: only this `MONTH`: 2026-03").in(o.lang))
	set.StringVar(&o.epoch, "epoch", "", phrase("list, export: only this `EPOCH`").in(o.lang))
	set.StringVar(&o.seq, "seq", "", phrase("list, export: only these `NUMBERS` of it: 100, or 100-200").in(o.lang))
	set.IntVar(&o.limit, "limit", 100, phrase("list: at most `N` records").in(o.lang))
	set.BoolVar(&o.newest, "newest", false, phrase("list: the last ones by their time").in(o.lang))
	set.BoolVar(&o.csv, "csv", false, phrase("export: a table of the quarter hours of a month").in(o.lang))
}

// bufferFlags are the flags of each way to look, besides --config and --lang.
var bufferFlags = map[string][]string{
	"stat":   {"json"},
	"list":   {"json", "class", "device", "from", "to", "month", "epoch", "seq", "limit", "newest"},
	"export": {"class", "device", "from", "to", "month", "epoch", "seq", "csv"},
	"verify": {"json"},
}

// check reports misuse before anything is opened. It returns the action and the directory, "" for the configured one.
func (o *bufferOptions) check(set *flag.FlagSet, operands []string) (what, dir string, err error) {
	ways := []string{"stat", "list", "export", "verify"}
	if len(operands) == 0 {
		return "", "", misused("buffer", phrase("buffer: say what to do: %s"), strings.Join(ways, ", "))
	}
	what = operands[0]
	if !slices.Contains(ways, what) {
		return "", "", misused("buffer", phrase("buffer: there is no %q%v"), what, oneOf(what, ways))
	}
	if len(operands) > 1 {
		dir = operands[1]
	}
	set.Visit(func(f *flag.Flag) {
		if err == nil && f.Name != "config" && f.Name != "lang" && !slices.Contains(bufferFlags[what], f.Name) {
			err = misused("buffer", phrase("buffer %s takes no --%s"), what, f.Name)
		}
	})
	switch {
	case err != nil:
	case o.csv && (o.class != "interval" || o.month == ""):
		err = misused("buffer", phrase("buffer export: --csv needs --class interval and --month, such as --month 2026-03"))
	case o.csv && (o.epoch != "" || o.seq != ""):
		err = misused("buffer", phrase("buffer export: --csv takes whole months: no --epoch, no --seq"))
	case o.limit < 1 || o.limit > archive.MaxEntries:
		err = misused("buffer", phrase("buffer list: --limit must be 1 to %d (got %d)"), archive.MaxEntries, o.limit)
	}
	return what, dir, err
}

func (o *bufferOptions) run(ctx context.Context, c console, set *flag.FlagSet, operands []string) error {
	what, dir, err := o.check(set, operands)
	if err != nil {
		return err
	}
	cfg, err := o.configuration(c, dir)
	if err != nil {
		return err
	}
	question := api.BufferQuestion{Do: what, Limit: o.limit, Newest: o.newest}
	if question.Query, err = o.query(zoneOf(cfg)); err != nil {
		return err
	}
	s, err := openStore(ctx, cfg, dir)
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGPIPE) // the reader may leave early, such as head: the store is closed nevertheless
	if err = o.print(ctx, c, s, question, cfg); errors.Is(err, syscall.EPIPE) {
		err = nil
	}
	return errors.Join(err, s.close())
}

func (o *bufferOptions) print(ctx context.Context, c console, s *storeClient, q api.BufferQuestion,
	cfg *config.Config) error {
	switch q.Do {
	case "stat":
		return printStat(ctx, c, s, q, o, cfg)
	case "list":
		return printList(ctx, c, s, q, o, zoneOf(cfg))
	case "verify":
		return printVerify(ctx, c, s, q, o)
	}
	if o.csv {
		return printQuarters(ctx, c, s, q, cfg, o)
	}
	return printRecords(ctx, c, s, q, o.lang)
}

// configuration reads the configuration. Where a directory is named it may be missing.
func (o *bufferOptions) configuration(c console, dir string) (*config.Config, error) {
	cfg, err := load(o.path)
	switch {
	case err == nil:
		return cfg, nil
	case dir == "" && errors.Is(err, fs.ErrNotExist) && o.path == defaultConfig:
		return nil, phrase("%v\nor give the store's directory: bordo buffer stat DIR").fault(err)
	case dir == "" || o.path != defaultConfig:
		return nil, err
	case !errors.Is(err, fs.ErrNotExist):
		leftOut(c, o.path, o.lang)
	}
	return nil, nil
}

// storeClient is where a store is asked: at the running agent that has it open, or else here.
type storeClient struct {
	dir     string
	running bool
	ask     func(ctx context.Context, q api.BufferQuestion, heard func(api.BufferPart) error) error
	close   func() error
}

// openStore finds out who has the store. cfg may be nil when dir is named.
func openStore(ctx context.Context, cfg *config.Config, dir string) (*storeClient, error) {
	tenant, node := "unknown", "unknown"
	var o buffer.Options
	own := false
	if cfg != nil {
		tenant, node = cfg.Tenant, cfg.Node
		own = dir == "" || realPath(dir) == realPath(cfg.Buffer.Dir)
	}
	if own {
		dir = cfg.Buffer.Dir
		o.MaxSize, o.History, o.EnergyHistory, o.Sync = cfg.Buffer.MaxSize, cfg.Buffer.History,
			cfg.Buffer.EnergyHistory, cfg.Buffer.Sync
		switch _, err := control.Status(ctx, cfg.Control.Socket); {
		case err == nil:
			return askedStore(cfg, dir), nil
		case !errors.Is(err, control.ErrNotRunning):
			return nil, permitted(err, socketOwner())
		}
	}
	o.Codec = record.NewCodec()
	s, err := buffer.Inspect(dir, o)
	switch {
	case errors.Is(err, buffer.ErrInUse) && own:
		return nil, phrase("%v\nan agent has it open and does not answer at %s: it may be starting, so try again").fault(err, cfg.Control.Socket)
	case errors.Is(err, buffer.ErrInUse):
		return nil, phrase("%v\nan agent has it open: name its configuration with --config FILE, to ask it").fault(err)
	case errors.Is(err, fs.ErrNotExist):
		return nil, phrase("there is no store in %s: the agent makes it when it first runs").fault(dir)
	case errors.Is(err, buffer.ErrDamaged):
		return damagedStore(dir, err), nil
	case errors.Is(err, syscall.EIO):
		return nil, phrase("%v\nthe disk or SD card cannot be read: look at dmesg, and replace the card").fault(err)
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOSPC):
		return nil, phrase("%v\na temporary directory that can be written is needed: TMPDIR=/run bordo buffer ...").fault(err)
	case errors.Is(err, fs.ErrPermission):
		return nil, phrase("%v\n%v\n%s belongs to %s").fault(err, fileOwner(), dir, owner.Of(dir))
	case err != nil:
		return nil, err
	}
	a := archive.New(s, tenant, node)
	return &storeClient{dir: dir, close: s.Close,
		ask: func(ctx context.Context, q api.BufferQuestion, heard func(api.BufferPart) error) error {
			return q.Answer(ctx, a, heard)
		}}, nil
}

// askedStore is the store of a running agent.
func askedStore(cfg *config.Config, dir string) *storeClient {
	return &storeClient{dir: dir, running: true, close: func() error { return nil },
		ask: control.Client(cfg.Control.Socket).Buffer}
}

// damagedStore is a store that cannot be opened: every question but verify returns err.
func damagedStore(dir string, err error) *storeClient {
	return &storeClient{dir: dir, close: func() error { return nil },
		ask: func(_ context.Context, q api.BufferQuestion, heard func(api.BufferPart) error) error {
			if q.Do != "verify" {
				return err
			}
			text := strings.TrimPrefix(err.Error(), "inspect store: "+buffer.ErrDamaged.Error()+": ")
			return heard(api.BufferPart{Report: &buffer.Report{Faults: strings.Split(text, "; ")}})
		}}
}
