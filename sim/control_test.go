package sim

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestControl(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		site, err := New(mustLoad(t, "demo"), Options{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		h := (&Server{Site: site}).Control()
		ask := func(method, path, body string, want int) string {
			t.Helper()
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
			if w.Code != want {
				t.Errorf("%s %s: %d %s, want %d", method, path, w.Code, w.Body, want)
			}
			return w.Body.String()
		}
		state := func() (s State) {
			t.Helper()
			if err := json.Unmarshal([]byte(ask(http.MethodGet, "/state", "", 200)), &s); err != nil {
				t.Fatal(err)
			}
			return s
		}
		if s := state(); s.Scenario != "demo" || s.Lines["barrier-1"] != "arm" ||
			s.Devices["inv-1"]["state"] != "producing" || len(s.Faults) != 0 {
			t.Errorf("state %+v", s)
		}

		ask(http.MethodPost, "/faults/arm", `{"fault": "obstacle", "device": "barrier-1", "for": "10s"}`, 200)
		ask(http.MethodPost, "/faults/mains", `{"fault": "mains-cut", "at": "1m", "for": 60000000000}`, 200)
		s := state()
		if len(s.Faults) != 2 || s.Faults[0].Place != "arm" || !s.Faults[0].On || s.Faults[1].On ||
			s.Faults[1].For != time.Minute {
			t.Errorf("faults %+v", s.Faults)
		}
		time.Sleep(90 * time.Second)
		if s := state(); s.Devices["inv-1"]["state"] != "standby" {
			t.Errorf("inverter %s in a mains cut", s.Devices["inv-1"]["state"])
		}
		if got := ask(http.MethodDelete, fmt.Sprintf("/faults/mains?id=%d", s.Faults[1].ID), "",
			200); !strings.Contains(got, `"cleared":1`) {
			t.Errorf("clear: %s", got)
		}

		ask(http.MethodPost, "/sun?by=14h", "", 200)
		time.Sleep(10 * time.Minute)
		if s := state(); s.Devices["inv-1"]["state"] != "sleeping" || s.Devices["inv-1"]["ac_power"] != "0" {
			t.Errorf("at night: %v", s.Devices["inv-1"])
		}
		ask(http.MethodPost, "/sun?by=-14h", "", 200)
		ask(http.MethodPost, "/faults/roof", `{"fault": "broken"}`, 200)
		time.Sleep(time.Second)
		if s := state(); s.Devices["inv-1"]["state"] != "fault" || s.Devices["inv-1"]["alarm"] == "" {
			t.Errorf("broken: %v", s.Devices["inv-1"])
		}
		ask(http.MethodDelete, "/faults/roof", "", 200)
		time.Sleep(time.Second)
		if s := state(); s.Devices["inv-1"]["alarm"] != "" {
			t.Errorf("mended: %v", s.Devices["inv-1"])
		}
		ask(http.MethodPost, "/sun?by=14h", "", 200)
		time.Sleep(10 * time.Minute)

		before := state().Sun
		ask(http.MethodPost, "/clock?by=6h", "", 200)
		if s := state(); s.Sun.Sub(before) != 6*time.Hour || s.Devices["inv-1"]["state"] == "sleeping" {
			t.Errorf("six hours after %v: %v, %v", before, s.Sun, s.Devices["inv-1"])
		}
		ask(http.MethodPost, "/heal", "", 200)
		if s := state(); len(s.Faults) != 0 {
			t.Errorf("after healing: %v", s.Faults)
		}

		for _, c := range []struct{ method, path, body, want string }{
			{http.MethodPost, "/faults/nowhere", `{"fault": "drop"}`, "no place"},
			{http.MethodPost, "/faults/arm", `{"fault": "dropp"}`, "fault must be one of"},
			{http.MethodPost, "/faults/arm", `{"falt": "drop"}`, "unknown field"},
			{http.MethodPost, "/faults/arm", `{"fault": "drop", "for": "soon"}`, "invalid duration"},
			{http.MethodPost, "/faults/broker", `{"fault": "slow"}`, "no broker"},
			{http.MethodDelete, "/faults/arm?id=x", "", "number of a fault"},
			{http.MethodPost, "/sun?by=noon", "", "invalid duration"},
			{http.MethodPost, "/clock?by=-1h", "", "must be more than 0"},
			{http.MethodPost, "/faults/box", `{"fault": "kill"}`, "is this machine"},
			{http.MethodPost, "/faults/link", `{"fault": "half-open"}`, "no broker"},
			{http.MethodDelete, "/faults/nowhere", "", "no place"},
			{http.MethodDelete, "/faults/arm?id=7", "", "no fault 7 at arm: must be none"},
			{http.MethodPost, "/sun?by=0s", "", "must not be 0"},
		} {
			if got := ask(c.method, c.path, c.body, 400); !strings.Contains(got, c.want) {
				t.Errorf("%s %s: %s, want %q", c.method, c.path, got, c.want)
			}
		}
	})
}

// A shipped scenario does what it says to the real driver, and nothing in it lets the driver invent a value.
func TestScenariosLive(t *testing.T) {
	for _, name := range Scenarios() {
		synctest.Test(t, func(t *testing.T) {
			during := 5 * time.Minute
			if name == "night" { // which takes so long
				during = 12 * time.Minute
			}
			s, a := live(t, mustLoad(t, name), 5, during, nil)
			if lies := invented(s, a, 20*time.Second); len(lies) > 0 {
				t.Errorf("%s: %d readings were not true, the first: %s", name, len(lies), lies[0])
			}
			for dev := range s.devices {
				reports, errs := a.of(dev), 0
				for _, r := range reports {
					if r.Err != nil {
						errs++
					}
				}
				switch {
				case name == "rs485-from-hell" && dev == "meter-2":
					if errs != len(reports) {
						t.Errorf("%s: %s is dead and gave %d reports without a fault", name, dev, len(reports)-errs)
					}
				case len(reports)-errs < 8:
					t.Errorf("%s: %s gave %d reports without a fault, %d with one", name, dev, len(reports)-errs, errs)
				case (name == "rooftop-1mw" || name == "lte-rural" || dev == "meter-3") && errs > 0:
					t.Errorf("%s: healthy %s gave %d reports with a fault", name, dev, errs)
				}
			}
			if name == "night" {
				if got := states(a, "inv-1"); !strings.Contains(got, "stopping sleeping starting producing") {
					t.Errorf("night: inv-1 went through %q", got)
				}
			}
		})
	}
}

// What could have no effect is refused, and the sentence lists what is possible.
func TestControlRefusesWhatCannotBe(t *testing.T) {
	scenario := mustLoad(t, "power-cuts")
	scenario.Lines[1].Devices = append(scenario.Lines[1].Devices,
		Device{ID: "meter-2", Model: "eastron-sdm630", Unit: 2})
	site, err := New(scenario, Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	v := &Server{Site: site}
	for _, c := range []struct {
		place string
		fault Fault
		want  string // "": it is possible
	}{
		{"rs485-a", Fault{Kind: Silent, Device: "meter-9"}, `no device "meter-9": must be meter-1 or meter-2`},
		{"rs485-a", Fault{Kind: Drop, Device: "inv-1"},
			"inv-1 is on line roof: on line rs485-a it must be meter-1 or meter-2"},
		{"roof", Fault{Kind: Obstacle, Device: "inv-1"},
			"inv-1 is an inverter: obstacle cannot happen to it; what can: broken, busy, drop,"},
		{"roof", Fault{Kind: Obstacle, Device: "inv-1"}, "obstacle is for barrier-1 (line arm)"},
		{"roof", Fault{Kind: Loop}, "loop cannot happen to any device on line roof; loop is for barrier-1 (line arm)"},
		{"rs485-a", Fault{Kind: Limit, Code: 50}, "limit is for inv-1 (line roof)"},
		{"ups", Fault{Kind: Reset}, "reset cannot happen to any device on line ups"},
		{"arm", Fault{Kind: Wire, Point: "di0"}, "wire is for io-1 (line cabinet)"},
		{"cabinet", Fault{Kind: Wire, Point: "di9"}, `io-1 has no point "di9": must be di0 or di1`},
		{"rs485-a", Fault{Kind: Stuck, Device: "meter-1", Point: "ac_pwoer"},
			`meter-1 has no point "ac_pwoer": must be ac_current_l1, ac_current_l2,`},
		{"cabinet", Fault{Kind: Stuck, Point: "di0"}, "no point of io-1 can be stuck alone"},
		{"roof", Fault{Kind: Gone, Device: "inv-1"},
			"gone has no device: beside at, for, every and odds it takes nothing"},
		{"roof", Fault{Kind: Silent, Chance: 0.5},
			"silent has no chance: beside at, for, every and odds it takes device"},
		{"roof", Fault{Kind: Drop, By: time.Second}, "drop has no by"},
		{"roof", Fault{Kind: Late, By: -time.Second}, "by must not be negative"},
		{"roof", Fault{Kind: Late, Code: 3}, "late has no code"},
		{"roof", Fault{Kind: Drop, Point: "ac_power"}, "drop has no point"},
		{"roof", Fault{Kind: Limit, Code: 101}, "code of limit must be 0 to 100"},
		{"roof", Fault{Kind: Drop, Chance: math.NaN()}, "chance must be 0 to 1"},
		{"roof", Fault{Kind: Slow}, "slow happens to place broker"},
		{"mains", Fault{Kind: Drop}, "drop happens on a line"},
		{"mains", Fault{Kind: MainsCut, Device: "inv-1"}, "mains-cut has no device"},
		{"nowhere", Fault{Kind: Drop}, `no place "nowhere": must be roof, rs485-a, arm, cabinet, ups or mains (and broker or link, of a site that is served with --broker)`},
		{"rs485-a", Fault{Kind: Stuck, Point: "ac_power"}, ""},
		{"cabinet", Fault{Kind: Wire, Point: "di1"}, ""},
		{"roof", Fault{Kind: Drop, Device: "inv-1", Chance: 0.1}, ""},
	} {
		_, err := v.Raise(c.place, c.fault)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v at %s: %v, want %q", c.fault, c.place, err, c.want)
		}
	}
	v.broker = &Broker{}
	if _, err := v.Raise("nowhere", Fault{Kind: Drop}); err == nil ||
		!strings.HasSuffix(err.Error(), "ups, mains, broker or link") {
		t.Errorf("with a broker: %v", err)
	}
}
