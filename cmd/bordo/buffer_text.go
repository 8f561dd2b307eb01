package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"bordo/agent/api"
	"bordo/agent/archive"
	"bordo/agent/config"
	"bordo/buffer"
	"bordo/cmd/terminal"
)

// maxEpochs is the maximum number of epochs in the table; --json has all.
const maxEpochs = 10

// storeStat is what stat prints as JSON.
type storeStat struct {
	Dir     string `json:"dir"`
	Running bool   `json:"running"` // an agent has it open, and was asked
	archive.Stat
	// bytes that the agent wrote to storage in the last day, or since its start
	Day    *int64       `json:"written_day,omitempty"`
	Limits *storeLimits `json:"limits,omitempty"` // of the configuration
}

type storeLimits struct {
	MaxSize       int64  `json:"max_size"`
	History       int64  `json:"history"`
	EnergyHistory int64  `json:"energy_history"`
	Sync          string `json:"sync"`
}

func limitsOf(cfg *config.Config) *storeLimits {
	if cfg == nil {
		return nil
	}
	return &storeLimits{cfg.Buffer.MaxSize, cfg.Buffer.History, cfg.Buffer.EnergyHistory, cfg.Buffer.Sync.String()}
}

func printStat(ctx context.Context, c console, s *storeClient, q api.BufferQuestion, o *bufferOptions,
	cfg *config.Config) error {
	st := storeStat{Dir: s.dir, Running: s.running, Limits: limitsOf(cfg)}
	err := s.ask(ctx, q, func(p api.BufferPart) error {
		if p.Stat != nil {
			st.Stat, st.Day = *p.Stat, p.Day
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case o.json:
		return writeJSON(c, st)
	}
	t := newTable(c.out, o.lang)
	t.statHead(st)
	t.statTables(st, zoneOf(cfg))
	_, err = io.WriteString(c.out, t.String())
	return err
}

func (t *table) statHead(st storeStat) {
	who := phrase("no agent runs")
	if st.Running {
		who = phrase("asked the running agent")
	}
	t.row(phrase("store"), phrase("%s, %v"), st.Dir, who)
	size := phrase("size")
	if st.Limits != nil {
		t.row(size, phrase("%s of at most %s"), byteText(st.Bytes, t.lang), byteText(st.Limits.MaxSize, t.lang))
		t.row(phrase("keeps"), phrase("%s of acknowledged readings, %s of quarter hours"),
			byteText(st.Limits.History, t.lang), byteText(st.Limits.EnergyHistory, t.lang))
	} else {
		t.row(size, phrase("%s"), byteText(st.Bytes, t.lang))
	}
	if st.Day != nil {
		t.row(phrase("written"), phrase("%s to the card in the last day, or since the agent started"),
			byteText(*st.Day, t.lang))
	}
	if st.FromMemory {
		t.row(phrase("attention"), phrase("the agent runs from memory: what is on the disk already is not shown here, and a power cut costs what is not delivered"))
	}
	if st.Fault != "" {
		t.row(phrase("fault"), phrase("%s"), st.Fault)
	}
	if st.Memory > 0 {
		t.row(phrase("memory"), phrase("%s not acknowledged yet"), count(st.Memory, recordNoun, t.lang))
	}
}

// grid adds a table below a free line. The headings have commas between them.
func (t *table) grid(head phrase, rows [][]string) {
	t.WriteString("\n" + terminal.Table{Head: strings.Split(head.in(t.lang), ","), Rows: rows}.Text(t.width))
}

func (t *table) statTables(st storeStat, zone *time.Location) {
	var rows [][]string
	damaged := 0
	for _, k := range st.Classes {
		damaged += k.Damaged
		rows = append(rows, texts(k.Class, k.Records, byteText(k.Bytes, t.lang), k.Waiting, minuteText(k.From, zone),
			minuteText(k.To, zone)))
	}
	t.grid(phrase("class,on disk,size,waiting,from,to"), rows)
	if len(st.Backlog) > 0 {
		rows = nil
		for _, s := range st.Backlog {
			rows = append(rows, texts(s.Ep, s.First, s.Last, s.N))
		}
		t.grid(phrase("waiting in,first,last,records"), rows)
	}
	if len(st.Epochs) > 0 {
		rows = nil
		for _, e := range st.Epochs[max(0, len(st.Epochs)-maxEpochs):] {
			rows = append(rows, texts(e.Epoch, e.First, e.Last, e.Records))
		}
		t.grid(phrase("epoch,first,last,on disk"), rows)
		if more := len(st.Epochs) - maxEpochs; more > 0 {
			t.WriteString(phrase("and %d older\n").in(t.lang, more))
		}
	}
	if len(st.Gaps) > 0 {
		rows = nil
		for _, g := range st.Gaps {
			rows = append(rows, gapCells(g, t.lang))
		}
		t.grid(phrase("gap in,class,from,to,lost,why"), rows)
		t.WriteString(terminal.Fold(phrase("The centre is told of these with the next connection.").in(t.lang), t.width,
			0) + "\n")
	}
	if damaged > 0 {
		t.WriteString("\n" + terminal.Fold(phrase("%s cannot be read: bordo buffer verify").in(t.lang,
			count(damaged, blockNoun, t.lang)), t.width, 0) + "\n")
	}
}

// texts are the cells of a row.
func texts(cells ...any) (row []string) {
	for _, c := range cells {
		row = append(row, fmt.Sprint(c))
	}
	return row
}

func gapCells(g archive.GapStat, l *langValue) []string {
	unknown := phrase("unknown").in(l)
	epoch, to, n := cmp.Or(g.Epoch, unknown), unknown, unknown
	if g.To != nil {
		to = strconv.FormatUint(*g.To, 10)
	}
	if g.Count > 0 {
		n = strconv.FormatUint(g.Count, 10)
	}
	return texts(epoch, g.Class, g.From, to, n, whyText(g.Why).in(l))
}

// whyText is the reason of a gap.
func whyText(why string) phrase {
	if p, known := map[buffer.Reason]phrase{
		buffer.Evicted: phrase("store full"), buffer.Unclean: phrase("power cut or crash"),
		buffer.Damaged:  phrase("files damaged"),
		buffer.DiskFull: phrase("disk full"), buffer.Retention: phrase("too old"),
	}[buffer.Reason(why)]; known {
		return p
	}
	return phrase(why)
}

// minuteText is a time of the site.
func minuteText(ms int64, zone *time.Location) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(ms).In(zone).Format("2006-01-02 15:04")
}

func printList(ctx context.Context, c console, s *storeClient, q api.BufferQuestion, o *bufferOptions,
	zone *time.Location) error {
	var list []archive.Entry
	var t archive.Tally
	err := s.ask(ctx, q, func(p api.BufferPart) error {
		list = append(list, p.Entries...)
		if p.Tally != nil {
			t = *p.Tally
		}
		return nil
	})
	if err != nil {
		return err
	}
	if o.json {
		err = writeJSON(c, map[string]any{"records": append([]archive.Entry{}, list...), "more": t.More,
			"damaged": t.Damaged})
	} else if len(list) > 0 {
		head := phrase("record,time (%s),class,device,what").in(o.lang, zone)
		t := terminal.Table{Head: strings.Split(head, ",")}
		for _, e := range list {
			t.Rows = append(t.Rows, []string{fmt.Sprintf("%s-%d", e.Epoch, e.Seq), momentText(e, zone), e.Class, e.Dev,
				whatText(e, o.lang)})
		}
		width, _, _ := terminal.Size(c.out)
		_, err = io.WriteString(c.out, t.Text(width))
	}
	switch {
	case err != nil:
		return err
	case len(list) == 0 && !o.json:
		fmt.Fprintln(c.err, phrase("no such records").in(o.lang))
	case t.More:
		more := phrase("there are more than these %d: --limit, --newest, --device and --from choose")
		width, _, _ := terminal.Size(c.err)
		fmt.Fprintln(c.err, terminal.Fold(more.in(o.lang, len(list)), width, 0))
	}
	return damagedBlocks(t, o.lang)
}

func momentText(e archive.Entry, zone *time.Location) string {
	if e.From == 0 && e.To == 0 {
		return "-"
	}
	text := time.UnixMilli(e.From).In(zone).Format("2006-01-02 15:04:05")
	if e.Clk == "free" {
		text += "?" // the clock was not set
	}
	return text
}

func whatText(e archive.Entry, l *langValue) string {
	if e.Type == "" {
		return count(e.N, valueNoun, l)
	}
	return strings.TrimSuffix(strings.TrimPrefix(e.Type, "bordo."), ".v1")
}

// damagedBlocks returns an error if the output is incomplete because of damaged blocks.
func damagedBlocks(t archive.Tally, l *langValue) error {
	if t.Damaged == 0 {
		return nil
	}
	return phrase("%s could not be read and are left out: %s\nsee bordo buffer verify").fault(count(t.Damaged,
		blockNoun, l), t.Fault)
}

// printRecords streams the messages, one a line.
func printRecords(ctx context.Context, c console, s *storeClient, q api.BufferQuestion, l *langValue) error {
	w := bufio.NewWriterSize(c.out, 64<<10)
	var t archive.Tally
	err := s.ask(ctx, q, func(p api.BufferPart) error {
		for _, line := range p.Lines {
			w.WriteString(line)                       //nolint:errcheck // the next call has the error
			if err := w.WriteByte('\n'); err != nil { // the reader has left, or the disk is full
				return fmt.Errorf("write: %w", err)
			}
		}
		if p.Tally != nil {
			t = *p.Tally
		}
		return nil
	})
	if err := errors.Join(err, w.Flush()); err != nil {
		return err
	}
	fmt.Fprintln(c.err, count(t.Records, recordNoun, l))
	return damagedBlocks(t, l)
}

func printVerify(ctx context.Context, c console, s *storeClient, q api.BufferQuestion, o *bufferOptions) error {
	var r buffer.Report
	err := s.ask(ctx, q, func(p api.BufferPart) error {
		if p.Report != nil {
			r = *p.Report
		}
		return nil
	})
	if err != nil {
		return err
	}
	good := len(r.Faults) == 0
	switch {
	case o.json:
		type report struct {
			Dir     string   `json:"dir"`
			Running bool     `json:"running"`
			Good    bool     `json:"good"`
			Tables  int      `json:"tables"`
			Blocks  int      `json:"blocks"`
			Records int      `json:"records"`
			Bytes   int64    `json:"bytes"`
			Faults  []string `json:"faults"`
			More    int      `json:"more,omitempty"`
		}
		if err := writeJSON(c, report{s.dir, s.running, good, r.Tables, r.Blocks, r.Records, r.Bytes,
			append([]string{}, r.Faults...), r.More}); err != nil {
			return err
		}
	case good:
		files := "" // a running agent reads its own files, and memory too
		if r.Tables > 0 {
			files = count(r.Tables, fileNoun, o.lang) + ", "
		}
		_, err := fmt.Fprintln(c.out, phrase("%s: whole: read %s%s, %s, %s").in(
			o.lang, s.dir, files, count(r.Blocks, blockNoun, o.lang), count(r.Records, recordNoun, o.lang),
			byteText(r.Bytes, o.lang)))
		return err
	default:
		for _, f := range r.Faults {
			fmt.Fprintln(c.out, "-", f)
		}
		if r.More > 0 {
			fmt.Fprintln(c.out, phrase("- and %d more").in(o.lang, r.More))
		}
		width, _, _ := terminal.Size(c.out)
		fmt.Fprintf(c.out, "\n%s\n\n", terminal.Fold(cure(s.running).in(o.lang), cmp.Or(width, 120), 0))
	}
	if good {
		return nil
	}
	return phrase("the store in %s is damaged").fault(s.dir)
}

// cure says what to do with a damaged store.
func cure(running bool) phrase {
	if running {
		return phrase("The agent goes on working. What cannot be read is told to the centre as missing. Restart it (systemctl restart " +
			"bordo): it puts damaged files aside and goes on. If this comes again, replace the card.")
	}
	return phrase("Start the agent (systemctl start bordo): it puts damaged files aside (damaged-…, in the same directory) and tells " +
		"the centre what is missing. To keep everything as it is, copy the directory first. If this comes again, replace the " +
		"card.")
}
