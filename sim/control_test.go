package sim

import (
	"encoding/json"
	"fmt"
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
		if s := state(); s.Scenario != "demo" || s.Lines["barrier-1"] != "arm" || s.Devices["inv-1"]["state"] != "producing" || len(s.Faults) != 0 {
			t.Errorf("state %+v", s)
		}

		ask(http.MethodPost, "/faults/arm", `{"fault": "obstacle", "device": "barrier-1", "for": "10s"}`, 200)
		ask(http.MethodPost, "/faults/mains", `{"fault": "mains-cut", "at": "1m", "for": 60000000000}`, 200)
		s := state()
		if len(s.Faults) != 2 || s.Faults[0].Place != "arm" || !s.Faults[0].On || s.Faults[1].On || s.Faults[1].For != time.Minute {
			t.Errorf("faults %+v", s.Faults)
		}
		time.Sleep(90 * time.Second)
		if s := state(); s.Devices["inv-1"]["state"] != "standby" {
			t.Errorf("inverter %s in a mains cut", s.Devices["inv-1"]["state"])
		}
		if got := ask(http.MethodDelete, fmt.Sprintf("/faults/mains?id=%d", s.Faults[1].ID), "", 200); !strings.Contains(got, `"cleared":1`) {
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
