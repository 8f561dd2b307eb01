package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"bordo/agent/archive"
	"bordo/agent/config"
	"bordo/buffer"
	"bordo/cmd/terminal"
)

// maxEpochs is how many epochs the table shows; --json has all.
const maxEpochs = 10

// storeStat is what stat prints as JSON.
type storeStat struct {
	Dir     string `json:"dir"`
	Running bool   `json:"running"` // an agent has it open, and was asked
	archive.Stat
	Day    *int64       `json:"written_day,omitempty"` // bytes that the agent wrote to storage in the last day, or since its start
	Limits *storeLimits `json:"limits,omitempty"`      // of the configuration
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

func printStat(ctx context.Context, c console, s *storeDesk, q bufferQuestion, o *bufferOptions, cfg *config.Config) error {
	st := storeStat{Dir: s.dir, Running: s.running, Limits: limitsOf(cfg)}
	err := s.ask(ctx, q, func(p bufferPart) error {
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
	var b strings.Builder
	statHead(&b, st)
	statTables(&b, st, zoneOf(cfg))
	_, err = fmt.Fprint(c.out, b.String())
	return err
}

func statHead(b *strings.Builder, st storeStat) {
	who := "no agent runs"
	if st.Running {
		who = "asked the running agent"
	}
	fmt.Fprintf(b, "store     %s, %s\n", st.Dir, who)
	if st.Limits != nil {
		fmt.Fprintf(b, "size      %s of at most %s\n", byteText(st.Bytes), byteText(st.Limits.MaxSize))
		fmt.Fprintf(b, "keeps     %s of acknowledged readings, %s of quarter hours\n", byteText(st.Limits.History), byteText(st.Limits.EnergyHistory))
	} else {
		fmt.Fprintf(b, "size      %s\n", byteText(st.Bytes))
	}
	if st.Day != nil {
		fmt.Fprintf(b, "written   %s to the card in the last day, or since the agent started\n", byteText(*st.Day))
	}
	if st.Fault != "" {
		fmt.Fprintf(b, "fault     %s\n", st.Fault)
	}
	if st.Memory > 0 {
		fmt.Fprintf(b, "memory    %s not acknowledged yet\n", count(st.Memory, "record"))
	}
}

func statTables(b *strings.Builder, st storeStat, zone *time.Location) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	damaged := 0
	fmt.Fprintln(t, "\nCLASS\tON DISK\tSIZE\tWAITING\tFROM\tTO")
	for _, k := range st.Classes {
		damaged += k.Damaged
		fmt.Fprintf(t, "%s\t%d\t%s\t%d\t%s\t%s\n", k.Class, k.Records, byteText(k.Bytes), k.Waiting, minuteText(k.From, zone), minuteText(k.To, zone))
	}
	if len(st.Backlog) > 0 {
		fmt.Fprintln(t, "\nWAITING IN\tFIRST\tLAST\tRECORDS")
		for _, s := range st.Backlog {
			fmt.Fprintf(t, "%s\t%d\t%d\t%d\n", s.Ep, s.First, s.Last, s.N)
		}
	}
	if len(st.Epochs) > 0 {
		fmt.Fprintln(t, "\nEPOCH\tFIRST\tLAST\tON DISK")
		for _, e := range st.Epochs[max(0, len(st.Epochs)-maxEpochs):] {
			fmt.Fprintf(t, "%s\t%d\t%d\t%d\n", e.Epoch, e.First, e.Last, e.Records)
		}
		if more := len(st.Epochs) - maxEpochs; more > 0 {
			fmt.Fprintf(t, "and %d older\n", more)
		}
	}
	if len(st.Gaps) > 0 {
		fmt.Fprintln(t, "\nGAP IN\tCLASS\tFROM\tTO\tLOST\tWHY")
		for _, g := range st.Gaps {
			fmt.Fprintln(t, gapText(g))
		}
	}
	t.Flush() //nolint:errcheck // a strings.Builder takes everything
	if len(st.Gaps) > 0 {
		fmt.Fprint(b, "The centre is told of these with the next connection.\n")
	}
	if damaged > 0 {
		fmt.Fprintf(b, "\n%s cannot be read: bordo buffer verify\n", count(damaged, "block"))
	}
}

func gapText(g archive.GapStat) string {
	epoch, to, n := g.Epoch, "unknown", "unknown"
	if epoch == "" {
		epoch = "unknown"
	}
	if g.To != nil {
		to = strconv.FormatUint(*g.To, 10)
	}
	if g.Count > 0 {
		n = strconv.FormatUint(g.Count, 10)
	}
	return fmt.Sprintf("%s\t%s\t%d\t%s\t%s\t%s", epoch, g.Class, g.From, to, n, g.Why)
}

// minuteText is a time of the site.
func minuteText(ms int64, zone *time.Location) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(ms).In(zone).Format("2006-01-02 15:04")
}

func printList(ctx context.Context, c console, s *storeDesk, q bufferQuestion, o *bufferOptions, zone *time.Location) error {
	var list []archive.Entry
	var t archive.Tally
	err := s.ask(ctx, q, func(p bufferPart) error {
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
		err = writeJSON(c, map[string]any{"records": append([]archive.Entry{}, list...), "more": t.More, "damaged": t.Damaged})
	} else if len(list) > 0 {
		var b strings.Builder
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintf(w, "CLASS\tRECORD\tTIME (%s)\tDEVICE\tWHAT\n", zone)
		for _, e := range list {
			fmt.Fprintf(w, "%s\t%s-%d\t%s\t%s\t%s\n", e.Class, e.Epoch, e.Seq, momentText(e, zone), e.Dev, whatText(e))
		}
		w.Flush() //nolint:errcheck // a strings.Builder takes everything
		err = terminal.Write(c.out, b.String())
	}
	switch {
	case err != nil:
		return err
	case len(list) == 0 && !o.json:
		fmt.Fprintln(c.err, "no such records")
	case t.More:
		fmt.Fprintf(c.err, "there are more than these %d: --limit, --newest, --device and --from choose\n", len(list))
	}
	return damagedBlocks(t)
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

func whatText(e archive.Entry) string {
	if e.Type == "" {
		return count(e.N, "value")
	}
	return strings.TrimSuffix(strings.TrimPrefix(e.Type, "bordo."), ".v1")
}

// damagedBlocks tells that what was shown is not all.
func damagedBlocks(t archive.Tally) error {
	if t.Damaged == 0 {
		return nil
	}
	return fmt.Errorf("%s could not be read and are left out: %s\nsee bordo buffer verify", count(t.Damaged, "block"), t.Fault)
}

// printRecords streams the messages, one a line.
func printRecords(ctx context.Context, c console, s *storeDesk, q bufferQuestion) error {
	w := bufio.NewWriterSize(c.out, 64<<10)
	var t archive.Tally
	err := s.ask(ctx, q, func(p bufferPart) error {
		for _, line := range p.Lines {
			w.WriteString(line)                       //nolint:errcheck // the next call has the error
			if err := w.WriteByte('\n'); err != nil { // who reads has gone, or the disk is full
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
	fmt.Fprintf(c.err, "%s\n", count(t.Records, "record"))
	return damagedBlocks(t)
}

func printVerify(ctx context.Context, c console, s *storeDesk, q bufferQuestion, o *bufferOptions) error {
	var r buffer.Report
	err := s.ask(ctx, q, func(p bufferPart) error {
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
		if err := writeJSON(c, report{s.dir, s.running, good, r.Tables, r.Blocks, r.Records, r.Bytes, append([]string{}, r.Faults...), r.More}); err != nil {
			return err
		}
	case good:
		_, err := fmt.Fprintln(c.out, phrase{"%s: integro: letti %d file, %d blocchi, %d record, %s", "%s: whole: read %d files, %d blocks, %d records, %s"}.in(
			o.lang, s.dir, r.Tables, r.Blocks, r.Records, byteText(r.Bytes)))
		return err
	default:
		for _, f := range r.Faults {
			fmt.Fprintln(c.out, "-", f)
		}
		if r.More > 0 {
			fmt.Fprintf(c.out, "- and %d more\n", r.More)
		}
		fmt.Fprintf(c.out, "\n%s\n\n", cure(s.running).in(o.lang))
	}
	if good {
		return nil
	}
	return errors.New(phrase{"l'archivio in %s è danneggiato", "the store in %s is damaged"}.in(o.lang, s.dir))
}

// cure tells what to do with a damaged store.
func cure(running bool) phrase {
	if running {
		return phrase{
			`L'agente continua a lavorare. Ciò che non si può leggere viene dichiarato al centro come mancante. Riavviarlo
(systemctl restart bordo): mette da parte i file danneggiati e riparte. Se succede di nuovo, sostituire la scheda.`,
			`The agent goes on working. What cannot be read is told to the centre as missing. Restart it (systemctl restart
bordo): it puts damaged files aside and goes on. If this comes again, replace the card.`}
	}
	return phrase{
		`Avviare l'agente (systemctl start bordo): mette da parte i file danneggiati (damaged-…, accanto all'archivio) e
dichiara al centro ciò che manca. Per conservare tutto com'è, copiare prima la cartella. Se succede di nuovo,
sostituire la scheda.`,
		`Start the agent (systemctl start bordo): it puts damaged files aside (damaged-…, in the same directory) and tells
the centre what is missing. To keep everything as it is, copy the directory first. If this comes again, replace the
card.`}
}
