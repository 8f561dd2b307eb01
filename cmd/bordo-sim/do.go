package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"bordo/cmd/commandline"
	"bordo/sim"
)

// controlFile is where serve leaves the address of the control API, below --dir.
const controlFile = "control.url"

func doCommand() commandline.Command {
	return commandline.Command{
		Name: "do", Brief: "tells a site that is served what to suffer", Takes: "ACTION ...", Most: 18,
		Text: `Tells a site of bordo-sim serve, by the --dir that it was given or the address of its control API:

  state                          what there is, as JSON
  faults                         what is armed, as a table
  raise PLACE FAULT [KEY=VALUE]  PLACE: a line, mains, broker, link; keys: device chance at for every odds by code point
  clear PLACE [NUMBER]           one fault, or all of a place; "faults" shows the numbers
  heal                           all faults of all places
  press DEVICE WHAT [FOR]        at a barrier, for 10s unless told: obstacle, photocell, loop or key
  cut mains [FOR]                60s unless told
  sun DURATION                   let the sun move on: 6h, -30m
  clock DURATION                 so much goes by at once for all that is physical: counters, batteries, sun; the agent is
                                 another process, its clock is the system's and stays

What could have no effect is refused, with what is possible there. sim/README.md lists the faults of each place.`,
		Flags: func(set *flag.FlagSet) commandline.Action {
			dir := set.String("dir", "", "the `DIR` of the site")
			base := set.String("url", "", "the `URL` of its control API")
			return func(ctx context.Context, c commandline.Console, operands []string) error {
				return do(ctx, c, *dir, *base, operands)
			}
		},
	}
}

// do applies an action to a served site.
func do(ctx context.Context, c commandline.Console, dir, base string, operands []string) error {
	if base == "" {
		if dir == "" {
			return misdone("which site? --dir DIR or --url URL")
		}
		text, err := os.ReadFile(filepath.Join(dir, controlFile))
		if err != nil {
			return fmt.Errorf("no site is served there: %w", err)
		}
		base = strings.TrimSpace(string(text))
	}
	if len(operands) == 0 {
		return misdone("do what?")
	}
	return act(ctx, &remote{base, c.Out}, operands[0], operands[1:])
}

// misdone is an error in the arguments of an action.
func misdone(format string, args ...any) error { return program().Misused("do", format, args...) }

// act carries out one action.
func act(ctx context.Context, r *remote, action string, args []string) error {
	need := func(least, most int) error {
		if len(args) < least || len(args) > most {
			return misdone("%s with %d arguments", action, len(args))
		}
		return nil
	}
	switch action {
	case "state", "faults", "heal":
		if err := need(0, 0); err != nil {
			return err
		}
		switch action {
		case "state":
			return r.print(ctx, http.MethodGet, "/state", nil)
		case "faults":
			return r.faults(ctx)
		}
		return r.print(ctx, http.MethodPost, "/heal", nil)
	case "sun", "clock":
		if err := need(1, 1); err != nil {
			return err
		}
		if _, err := time.ParseDuration(args[0]); err != nil {
			return wrong("%s takes a duration such as 6h or 30m (got %q)", action, args[0])
		}
		return r.print(ctx, http.MethodPost, "/"+action+"?by="+url.QueryEscape(args[0]), nil)
	case "raise":
		if err := need(2, 16); err != nil {
			return err
		}
		fault, err := faultOf(args[1], args[2:])
		if err != nil {
			return err
		}
		return r.print(ctx, http.MethodPost, "/faults/"+url.PathEscape(args[0]), fault)
	case "clear":
		if err := need(1, 2); err != nil {
			return err
		}
		path := "/faults/" + url.PathEscape(args[0])
		if len(args) == 2 {
			path += "?id=" + url.QueryEscape(args[1])
		}
		return r.print(ctx, http.MethodDelete, path, nil)
	case "press":
		if err := need(2, 3); err != nil {
			return err
		}
		during, err := longEnough("press", append(args[2:], "10s")[0])
		if err != nil {
			return err
		}
		return r.press(ctx, args[0], args[1], during)
	case "cut":
		if err := need(1, 2); err != nil {
			return err
		}
		if args[0] != "mains" {
			return wrong("only the mains can be cut (got %q)", args[0])
		}
		during, err := longEnough("cut", append(args[1:], "60s")[0])
		if err != nil {
			return err
		}
		return r.print(ctx, http.MethodPost, "/faults/mains", map[string]any{"fault": "mains-cut", "for": during})
	}
	return misdone("unknown action %q", action)
}

// longEnough checks a duration after which something ends: 0 would mean for ever.
func longEnough(action, text string) (string, error) {
	if d, err := time.ParseDuration(text); err != nil || d <= 0 {
		return "", wrong("%s: FOR must be a duration of more than 0, such as 30s (got %q)", action, text)
	}
	return text, nil
}

// faultOf builds a fault from KEY=VALUE words. It refuses a value of 0 where that differs from a missing key, because
// it could not be distinguished.
func faultOf(kind string, words []string) (map[string]any, error) {
	fault := map[string]any{"fault": kind}
	for _, w := range words {
		key, value, ok := strings.Cut(w, "=")
		if !ok {
			return nil, wrong("%q is not KEY=VALUE", w)
		}
		if _, twice := fault[key]; twice {
			return nil, wrong("%s is given twice", key)
		}
		switch key {
		case "device", "point":
			if value == "" {
				return nil, wrong("%s= names nothing: leave it out for all", key)
			}
			fault[key] = value
		case "at", "for", "every", "by":
			d, err := time.ParseDuration(value)
			if err != nil || d < 0 && key != "by" || d == 0 && key != "at" {
				return nil, wrong("%s must be a duration of more than 0, such as 30s (got %q)", key, value)
			}
			fault[key] = value
		case "chance", "odds":
			f, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return nil, wrong("%s must be a number (got %q)", key, value)
			}
			if !(f > 0 && f <= 1) {
				return nil, wrong("%s must be more than 0 and at most 1 (got %q)", key, value)
			}
			fault[key] = f
		case "code":
			n, err := strconv.Atoi(value)
			if err != nil {
				return nil, wrong("code must be a whole number (got %q)", value)
			}
			fault[key] = n
		default:
			return nil, wrong("unknown key %q: want device, chance, at, for, every, odds, by, code or point", key)
		}
	}
	return fault, nil
}

// remote is the control API of a site.
type remote struct {
	base string
	out  io.Writer
}

// call asks and returns the answer; what the site refuses is an error.
func (r *remote) call(ctx context.Context, method, path string, body any) ([]byte, error) {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		reader = bytes.NewReader(text)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, r.base+path, reader)
	if err != nil {
		return nil, mistake(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the site: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to the end
	text, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("ask the site: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var said struct{ Error string }
		if json.Unmarshal(text, &said) != nil || said.Error == "" {
			said.Error = resp.Status
		}
		return nil, wrong("%s", said.Error)
	}
	return text, nil
}

func (r *remote) print(ctx context.Context, method, path string, body any) error {
	text, err := r.call(ctx, method, path, body)
	if err != nil {
		return err
	}
	_, err = r.out.Write(text)
	return err
}

func (r *remote) state(ctx context.Context) (sim.State, error) {
	var s sim.State
	text, err := r.call(ctx, http.MethodGet, "/state", nil)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(text, &s)
}

func (r *remote) faults(ctx context.Context) error {
	s, err := r.state(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(r.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "PLACE\tNUMBER\tFAULT\tDEVICE\tON") //nolint:errcheck // told by Flush
	for _, f := range s.Faults {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%v\n", f.Place, f.ID, f.Kind, f.Device, f.On) //nolint:errcheck // told by Flush
	}
	return w.Flush()
}

// press acts on a barrier for a while.
func (r *remote) press(ctx context.Context, device, what, during string) error {
	if !slices.Contains([]string{"obstacle", "photocell", "loop", "key"}, what) {
		return wrong("press obstacle, photocell, loop or key (got %q)", what)
	}
	s, err := r.state(ctx)
	if err != nil {
		return err
	}
	line, ok := s.Lines[device]
	if !ok {
		return wrong("no device %q: must be %s", device, strings.Join(slices.Sorted(maps.Keys(s.Lines)), ", "))
	}
	return r.print(ctx, http.MethodPost, "/faults/"+url.PathEscape(line),
		map[string]any{"fault": what, "device": device, "for": during})
}
