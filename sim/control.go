package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"bordo/drivers/catalogue"
)

// maxControlBody bounds a request to the control API.
const maxControlBody = 64 << 10

// State is the state of a site as the control API returns it.
type State struct {
	Scenario string                       `json:"scenario"`
	Sun      time.Time                    `json:"sun"`     // what the sun's clock shows
	Faults   []ActiveFault                `json:"faults"`  // that are armed, on or not
	Lines    map[string]string            `json:"lines"`   // on which line each device is
	Devices  map[string]map[string]string `json:"devices"` // what each holds now, by point
}

// ActiveFault is an armed fault with its place and the number by which it is cleared.
type ActiveFault struct {
	Place string `json:"place"`
	ID    int    `json:"id"`
	On    bool   `json:"on"` // now
	Fault
}

// Control is the control API of a served site: HTTP with JSON, on loopback only, without password.
//
//	GET    /state                    what exists, and all present values
//	POST   /faults/{place}           raise: a Fault as JSON, durations in nanoseconds or as text ("30s"); answers {"id": n}
//	DELETE /faults/{place}[?id=N]    clear one, or all of a place
//	POST   /heal                     clear everything everywhere
//	POST   /sun?by=6h                move the sun forward (or back)
//	POST   /clock?by=6h              advance everything physical at once
//
// A place is the id of a line, "mains", "broker" or "link", the network before the broker.
func (v *Server) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) { reply(w, v.State(), nil) })
	mux.HandleFunc("POST /faults/{place}", func(w http.ResponseWriter, r *http.Request) {
		var f controlFault
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxControlBody))
		d.DisallowUnknownFields()
		if err := d.Decode(&f); err != nil {
			reply(w, nil, fmt.Errorf("read fault: %w", err))
			return
		}
		id, err := v.Raise(r.PathValue("place"), f.fault())
		reply(w, map[string]int{"id": id}, err)
	})
	mux.HandleFunc("DELETE /faults/{place}", func(w http.ResponseWriter, r *http.Request) {
		id := 0
		if text := r.URL.Query().Get("id"); text != "" {
			var err error
			if id, err = strconv.Atoi(text); err != nil || id < 1 {
				reply(w, nil, fmt.Errorf("id must be the number of a fault (got %q)", text))
				return
			}
		}
		n, err := v.Clear(r.PathValue("place"), id)
		reply(w, map[string]int{"cleared": n}, err)
	})
	mux.HandleFunc("POST /heal", func(w http.ResponseWriter, _ *http.Request) {
		v.Heal()
		reply(w, map[string]bool{"healed": true}, nil)
	})
	mux.HandleFunc("POST /sun", func(w http.ResponseWriter, r *http.Request) {
		by, err := time.ParseDuration(r.URL.Query().Get("by"))
		if err == nil {
			err = v.Site.checkMoving()
		}
		if err == nil && by == 0 {
			err = errors.New("by must not be 0")
		}
		if err == nil {
			v.Site.MoveSun(by)
		}
		reply(w, v.State().Sun, err)
	})
	mux.HandleFunc("POST /clock", func(w http.ResponseWriter, r *http.Request) {
		by, err := time.ParseDuration(r.URL.Query().Get("by"))
		if err == nil {
			err = v.Site.checkMoving()
		}
		if err == nil {
			err = v.Site.JumpClock(by)
		}
		reply(w, v.State().Sun, err)
	})
	return mux
}

// reply answers with a value, or with what is wrong with the request.
func reply(w http.ResponseWriter, value any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		value = map[string]string{"error": err.Error()}
	}
	json.NewEncoder(w).Encode(value) //nolint:errcheck // a client that went away needs no answer
}

// controlFault is a Fault whose durations may be texts.
type controlFault struct {
	Kind   FaultKind `json:"fault"`
	Device string    `json:"device"`
	Chance float64   `json:"chance"`
	At     span      `json:"at"`
	For    span      `json:"for"`
	Every  span      `json:"every"`
	Odds   float64   `json:"odds"`
	By     span      `json:"by"`
	Code   int       `json:"code"`
	Point  string    `json:"point"`
}

func (c controlFault) fault() Fault {
	return Fault{Kind: c.Kind, Device: c.Device, Chance: c.Chance, At: time.Duration(c.At), For: time.Duration(c.For),
		Every: time.Duration(c.Every), Odds: c.Odds, By: time.Duration(c.By), Code: c.Code, Point: c.Point}
}

// span is a duration as JSON: "1m30s", or a number of nanoseconds.
type span time.Duration

// UnmarshalJSON implements json.Unmarshaler.
func (s *span) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return json.Unmarshal(b, (*int64)(s))
	}
	d, err := time.ParseDuration(text)
	*s = span(d)
	return err
}

// State returns what exists and all present values.
func (v *Server) State() State {
	s := v.Site
	now := time.Now()
	st := State{Scenario: s.scenario.Name, Lines: map[string]string{}, Devices: map[string]map[string]string{}}
	places := map[string]*faults{"mains": s.nature.mains}
	for _, b := range s.buses {
		places[b.id] = b.faults
	}
	if v.broker != nil {
		places["broker"], places["link"] = v.broker.faults, v.link.faults
	}
	for place, fs := range places {
		for id, f := range fs.all() {
			st.Faults = append(st.Faults, ActiveFault{place, id, fs.isOn(id, now), f})
		}
	}
	slices.SortFunc(st.Faults, func(a, b ActiveFault) int {
		if a.Place != b.Place {
			if a.Place < b.Place {
				return -1
			}
			return 1
		}
		return a.ID - b.ID
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nature.advance(now)
	st.Sun = s.nature.sunTime()
	for id, d := range s.devices {
		values := map[string]string{}
		d.about().body.points(func(point string, v catalogue.Value) { values[point] = v.String() })
		st.Devices[id], st.Lines[id] = values, d.about().bus.id
	}
	return st
}

// check says whether something can go wrong at a place of a site that is served. The box can not: it is the machine on
// which the agent runs.
func (v *Server) check(place string) error {
	lines := v.Site.lineNames()
	switch {
	case slices.Contains(lines, place) || place == "mains":
		return nil
	case place == "box":
		return errors.New("the box of a served site is this machine, with its own clock and disk: end the agent with kill -9, start it again; place box is for tests")
	case place != "broker" && place != "link":
		places, more := append(lines, "mains", "broker", "link"), ""
		if v.broker == nil {
			places, more = append(lines, "mains"), " (and broker or link, of a site that is served with --broker)"
		}
		return fmt.Errorf("no place %q: must be %s%s", place, oneOf(places), more)
	case v.broker == nil:
		return errors.New("this site has no broker: serve it with --broker")
	}
	return nil
}

// Raise begins a fault at a place: a line's id, "mains", "broker" or "link". It refuses a fault that would have no
// effect.
func (v *Server) Raise(place string, f Fault) (int, error) {
	if err := v.check(place); err != nil {
		return 0, fmt.Errorf("raise: %w", err)
	}
	switch place {
	case "broker":
		return v.broker.Raise(f)
	case "link":
		return v.link.Raise(f)
	}
	return v.Site.Raise(place, f)
}

// Clear ends a fault of a place, or all with 0, and returns their number. It refuses an unknown number.
func (v *Server) Clear(place string, id int) (int, error) {
	if err := v.check(place); err != nil {
		return 0, fmt.Errorf("clear: %w", err)
	}
	var fs *faults
	switch place {
	case "broker":
		fs = v.broker.faults
	case "link":
		fs = v.link.faults
	default:
		var err error
		if fs, err = v.Site.faultsOf(place); err != nil {
			return 0, fmt.Errorf("clear: %w", err)
		}
	}
	n := fs.clear(id)
	if id != 0 && n == 0 {
		var armed []string
		for _, number := range slices.Sorted(maps.Keys(fs.all())) {
			armed = append(armed, strconv.Itoa(number))
		}
		return 0, fmt.Errorf("clear: no fault %d at %s: must be %s", id, place, oneOf(armed))
	}
	return n, nil
}

// Heal ends every fault of site, broker and link.
func (v *Server) Heal() {
	v.Site.Heal()
	if v.broker != nil {
		v.broker.Clear(0)
		v.link.Clear(0)
	}
}
