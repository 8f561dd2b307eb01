package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"bordo/cmd/bordoctl/audit"
	"bordo/cmd/bordoctl/broker"
	"bordo/cmd/commandline"
	"bordo/cmd/terminal"
	"bordo/contract/consumer"
)

// errFound makes the exit code 1 where a report has said why.
var errFound = errors.New("faults were found")

// askedFor is how long the broker may take to send everything retained again.
const askedFor = 15 * time.Second

func verifyCommand() commandline.Command {
	return commandline.Command{
		Name:  "verify",
		Brief: "listens for a while and holds what it hears against the contract",
		Text: `Listens to everything below the root and tells what is not as the contract says; exit code 1 when anything is.

  missing   numbers that a node counts as delivered, that are not here and under no gap
  conflict  one identity with two contents; what comes again alike is harmless and is counted
  schema    messages that break their JSON Schema: topic, place in the message, and why
  content   messages of another node or device than their topic
  clock     clocks that are said to be set and are off by more than --max-skew
  topic     topics that the contract does not have
  retained  what the broker keeps and must not, or does not keep and must
  qos, size another quality of service than 1; more than 60 KiB

It may be started at any time: what was published before is not missed. Whether a number that has not come is lost or only
held back is told by the node's next status, and there is one every 10 minutes. So if numbers are open when the time is
over, it listens on until that status has come, at most for --wait. Ctrl-C ends it at once, with what is known.

A broker that drops messages of a subscriber looks like a node that did not send them: with mosquitto, set
max_queued_messages 0. --json prints one object: from, to, ok, messages, breaks, nodes, faults, notes.`,
		Flags: func(set *flag.FlagSet) commandline.Action {
			var o broker.Options
			var v verification
			o.Flags(set)
			set.StringVar(&o.Node, "node", "", "only this node's `ID`")
			set.DurationVar(&v.during, "for", 5*time.Minute, "how long, as a `DURATION` such as 90s or 1h")
			set.DurationVar(&v.wait, "wait", 11*time.Minute,
				"how long to listen on, as a `DURATION`, while numbers are open")
			set.DurationVar(&v.maxSkew, "max-skew", 10*time.Second,
				"how far a clock may be off, as a `DURATION`, the way included")
			set.BoolVar(&v.asJSON, "json", false, "print the report as JSON")
			return func(ctx context.Context, c commandline.Console, _ []string) error {
				if err := o.Check(); err != nil {
					return program().Misused("verify", "verify: %s", err)
				}
				if v.during <= 0 || v.wait < 0 || v.maxSkew <= 0 {
					return program().Misused("verify",
						"verify: --for and --max-skew must be more than 0, and --wait not less")
				}
				return v.run(ctx, c, o)
			}
		},
	}
}

// verification is how to verify.
type verification struct {
	during, wait, maxSkew time.Duration
	asJSON                bool

	audit    *audit.Audit
	listener *broker.Listener
	breaks   bool // the first connection was made
}

func (v *verification) run(ctx context.Context, c commandline.Console, o broker.Options) error {
	var err error
	if v.audit, err = audit.New(audit.Options{Root: o.Root, MaxSkew: v.maxSkew}); err != nil {
		return err
	}
	listening, cancel := context.WithCancel(context.WithoutCancel(ctx)) // Ctrl-C ends the listening, not the report
	defer cancel()
	v.listener = broker.Listen(o, o.Filters())
	ended := make(chan error, 1)
	go func() { ended <- v.listener.Run(listening) }()
	kept, err := v.listen(ctx, ended, newProgress(c.Err))
	if err != nil {
		return err
	}
	report := v.audit.Report(time.Now(), kept, v.listener.Overflow())
	cancel()
	<-ended
	if v.asJSON {
		out := json.NewEncoder(c.Out)
		out.SetIndent("", "  ")
		err = out.Encode(report)
	} else {
		text := report.Text()
		if report.Messages == 0 {
			text += nothingHint + "\n"
		}
		err = terminal.Write(c.Out, text)
	}
	if err == nil && !report.OK {
		err = errFound
	}
	return err
}

// listen has three parts: listening for the requested time, listening on while records are missing, and requesting what
// is retained. kept reports whether the last one was done.
func (v *verification) listen(ctx context.Context, ended <-chan error, p *progress) (kept bool, err error) {
	defer p.clear()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var over, last, still time.Time // the end of each part; zero: it has not begun
	for {
		select {
		case err := <-ended:
			return false, err
		case <-ctx.Done():
			return false, nil
		case e := <-v.listener.Events():
			switch {
			case e.Message != nil:
				v.audit.Take(audit.Message{QoS: e.Message.QoS, Message: consumer.Message{
					Topic: e.Message.Topic, Payload: e.Message.Payload, Retained: e.Message.Retain}}, e.At)
				if !still.IsZero() && e.Message.Retain {
					still = e.At.Add(quiet)
				}
			case e.URL != "":
				if v.breaks {
					v.audit.Interrupted()
				} else {
					v.breaks, over = true, e.At.Add(v.during)
				}
			case e.Asked:
				still = e.At.Add(quiet)
			}
		case now := <-tick.C:
			p.draw(now, over)
			switch {
			case over.IsZero() || now.Before(over):
			case last.IsZero():
				if now.Before(over.Add(v.wait)) && len(v.audit.Undecided(now)) > 0 {
					p.waiting(v.audit.Undecided(now))
					continue
				}
				last = now.Add(askedFor)
				v.audit.Asked()
				v.listener.Ask(ctx)
			case !still.IsZero() && now.After(still):
				return true, nil
			case now.After(last):
				return !still.IsZero(), nil
			}
		}
	}
}

// progress shows a person at a terminal that work is going on.
type progress struct {
	w     io.Writer
	width int // 0: no terminal
	text  string
}

func newProgress(w io.Writer) *progress {
	width, _, _ := terminal.Size(w)
	return &progress{w: w, width: width}
}

func (p *progress) draw(now, over time.Time) {
	switch {
	case over.IsZero():
		p.text = "connecting"
	case now.Before(over):
		p.text = "listening, " + terminal.Age(over, now) + " to go"
	}
	p.show()
}

// waiting says for whom.
func (p *progress) waiting(nodes []string) {
	p.text = "listening on, until these have told their status: " + strings.Join(nodes, ", ")
	p.show()
}

func (p *progress) show() {
	if p.width > 0 {
		fmt.Fprintf(p.w, "\r%s\x1b[K", terminal.Cut(p.text, p.width-1))
	}
}

func (p *progress) clear() {
	if p.width > 0 {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
