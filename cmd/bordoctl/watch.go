package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"bordo/cmd/bordoctl/broker"
	"bordo/cmd/bordoctl/roster"
	"bordo/cmd/commandline"
	"bordo/cmd/locale"
	"bordo/cmd/terminal"
	"bordo/contract"
	"bordo/contract/consumer"
)

func watchCommand() commandline.Command {
	return commandline.Command{
		Name:  "watch",
		Brief: "nodes and devices live: state, freshness, backlog, conditions, what is missing",
		Text: `Shows who is there until Ctrl-C: a table at a terminal, otherwise a line for each change. What needs somebody stands first.

  SINCE   how long the state lasts; ">": at least, it began before we listened
  LAST    since the last live sample; LAG50, LAG99: from measuring to arrival, by the node's clock, median and 99 of 100
  BACKLOG records that the node held back when it last told (every 10 minutes); behind it the age of what comes in late
  MISS    numbers that the node counts as delivered, that are not here and under no gap; TWIN: one identity, two contents

A lost node is believed only if the loss is that of its last session. "silent" is a node that is online by its last word
and has not said anything for 20 minutes.

With --json each change is an object in a line. Always there: at (ms UTC) and what; with what:
  link      state (connected, lost), url, detail
  node      tenant, node, state (online, offline, lost, silent), since, sess, ver, hw, cfg, clk, sim, backlog, told, lost,
            rate, lag_p50, lag_p99 (ms), last, conditions, gaps, missing, conflicts
  condition tenant, node, dev, state (raised, cleared), detail, condition {code, severity, since, text {it, en}}
  gap       tenant, node, gap {ep, from, to, n, class, why}
  defect    tenant, node, defect {kind (missing, conflict, forgotten), ep, from, to}
  device    tenant, node, dev, state (described, removed), device {name, maker, model, profile, serial, firmware, every, points}
  error     topic, detail: a message that cannot be understood
Keys are added in later versions, never changed.`,
		Flags: func(set *flag.FlagSet) commandline.Action {
			var o broker.Options
			o.Flags(set)
			set.StringVar(&o.Node, "node", "", "only this node's `ID`, with its devices")
			asJSON := set.Bool("json", false, "print each change as JSON")
			lang := locale.OfEnv(os.Getenv)
			set.Var(&lang, "lang", "the `LANGUAGE` of the sentences of conditions: it or en")
			return func(ctx context.Context, c commandline.Console, _ []string) error {
				if err := o.Check(); err != nil {
					return program().Misused("watch", "watch: %s", err)
				}
				return watch(ctx, c, o, *asJSON, string(lang))
			}
		},
	}
}

// watchKinds are the topics that a watch needs: all those with sequence numbers, and the retained ones. It does not
// read commands and allow-lists.
func watchKinds() []string {
	return []string{contract.KindStatus, contract.KindMeta, contract.KindTele, contract.KindHist, contract.KindHistz,
		contract.KindEvent, contract.KindRes}
}

// redraw is the interval at which the table is drawn and times are checked.
const redraw = time.Second

func watch(ctx context.Context, c commandline.Console, o broker.Options, asJSON bool, lang string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	nodes, err := roster.New(o.Root)
	if err != nil {
		return err
	}
	show := showerFor(c.Out, asJSON, lang, o.Node)
	listener := broker.Listen(o, o.Filters(watchKinds()...))
	ended := make(chan error, 1)
	go func() { ended <- listener.Run(ctx) }()
	defer show.end()
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	connected := false
	for {
		var changes []roster.Change
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
			cancel()
			return <-ended
		case now := <-tick.C:
			changes = nodes.Tick(now)
			if err := show.moment(nodes, now); err != nil {
				return err
			}
		case e := <-listener.Events():
			switch {
			case e.Message != nil:
				changes = nodes.Take(consumer.Message{Topic: e.Message.Topic, Payload: e.Message.Payload,
					Retained: e.Message.Retain}, e.At)
			case e.URL != "":
				if connected {
					nodes.Interrupted()
				}
				connected = true
				changes = []roster.Change{{At: e.At.UnixMilli(), What: roster.WhatLink, State: "connected", URL: e.URL}}
			case e.Err != nil:
				changes = []roster.Change{{At: e.At.UnixMilli(), What: roster.WhatLink, State: "lost",
					Detail: e.Err.Error()}}
			}
		}
		for _, change := range changes {
			if err := show.change(change); err != nil {
				return err
			}
		}
	}
}

// shower prints the known state: as a table in place, as lines, or as JSON.
type shower struct {
	out    io.Writer
	asJSON bool
	screen bool
	begun  bool
	lang   string
	node   string
	link   string // about our own connection
}

func showerFor(out io.Writer, asJSON bool, lang, node string) *shower {
	_, _, seen := terminal.Size(out)
	return &shower{out: out, asJSON: asJSON, screen: seen && !asJSON, lang: lang, node: node}
}

// change prints a change, unless a table will show it.
func (s *shower) change(c roster.Change) error {
	if c.What == roster.WhatLink {
		s.link = c.Line(s.lang)
	}
	switch {
	case s.screen:
		return nil
	case s.asJSON:
		b, err := json.Marshal(c)
		if err != nil {
			return fmt.Errorf("encode change: %w", err)
		}
		_, err = s.out.Write(append(b, '\n'))
		return err
	}
	_, err := fmt.Fprintln(s.out, c.Line(s.lang))
	return err
}

// moment draws the table.
func (s *shower) moment(r *roster.Roster, now time.Time) error {
	if !s.screen {
		return nil
	}
	width, height, _ := terminal.Size(s.out)
	if !s.begun {
		s.begun = true
		if _, err := io.WriteString(s.out, terminal.Begin); err != nil {
			return err
		}
	}
	lines := r.Table(roster.Picture{Width: width, Height: height - 1, Lang: s.lang, Node: s.node, Link: s.link}, now)
	_, err := io.WriteString(s.out, terminal.Frame(lines, width))
	return err
}

// end gives the cursor back.
func (s *shower) end() {
	if s.begun {
		io.WriteString(s.out, terminal.End) //nolint:errcheck // nobody looks any more
	}
}
