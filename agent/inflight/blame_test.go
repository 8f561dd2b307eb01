package inflight

import (
	"testing"
	"time"
)

var zero = time.Unix(1e9, 0)

func TestCeiling(t *testing.T) {
	c := Ceiling{FirstWait: time.Second, LastWait: 10 * time.Second}
	if got := c.Allowed(zero, 4000, 60000); got != 4000 {
		t.Errorf("at first %d", got)
	}
	c.Pass(4000)
	c.Pass(8000)
	if got := c.Allowed(zero, 4000, 60000); got != 16000 {
		t.Errorf("after 8000 passed %d", got)
	}
	c.Fail(16000, zero)
	if got := c.Allowed(zero, 4000, 60000); got != 8000 || c.MayTry(15000, zero) || !c.MayTry(12000, zero) {
		t.Errorf("after 16000 failed %d", got)
	}
	if got := c.Allowed(zero.Add(time.Second), 4000, 60000); got != 16000 || !c.MayTry(15000, zero.Add(time.Second)) {
		t.Errorf("when it is time for another attempt %d", got)
	}
	c.Fail(16000, zero)
	if got := c.Allowed(zero.Add(3*time.Second), 4000, 60000); got != 8000 {
		t.Errorf("after the second failure %d: the wait did not grow", got)
	}
	c.Pass(16000)
	if c.Failed != 0 || c.Strikes != 0 || c.Allowed(zero, 4000, 60000) != 32000 {
		t.Errorf("after it passed: %+v", c)
	}
	c.Fail(10000, zero)
	if c.Passed != 5000 {
		t.Errorf("what passed before was too large now, and %d counts as proved", c.Passed)
	}
	if c.Forget(zero.Add(time.Hour), time.Minute); c.Failed != 0 {
		t.Error("a single failure is remembered")
	}
	c.Restore(4000, 10000, zero)
	if c.Forget(zero.Add(3*time.Hour), time.Minute); c.Failed == 0 {
		t.Error("what another run found out is forgotten")
	}
}

// What a topic needs to be set aside: two deaths with it, the second alone, and a broker that leaves a silent session alone.
func TestBlame(t *testing.T) {
	var b Blame
	die := func(brief bool, topics ...string) (string, bool) { return b.Died(topics, brief, zero) }
	if _, explained := die(true, "a/tele/x", "a/event/x", "a/status"); explained {
		t.Error("the first death is explained")
	}
	if !b.Alone("a/event/x") || b.Alone("a/event/y") {
		t.Error("what was in flight does not travel alone")
	}
	b.Acked("a/tele/x", zero)
	if culprit, explained := die(true, "a/event/x"); culprit != "" || !explained || !b.Quiet() {
		t.Errorf("second death: %q %v, quiet %v", culprit, explained, b.Quiet())
	}
	b.Calm(zero)
	culprit, _ := die(true, "a/event/x")
	if culprit != "a/event/x" {
		t.Fatalf("third death: %q", culprit)
	}
	b.Convict(culprit, zero)
	if !b.Aside("a/event/x", zero.Add(4*time.Minute)) || b.Aside("a/event/x", zero.Add(6*time.Minute)) ||
		b.Aside("a/event/y", zero) {
		t.Error("set aside for another time than 5 min, or with others")
	}
	if _, explained := b.Died([]string{"a/event/x"}, true, zero.Add(6*time.Minute)); !explained ||
		!b.Aside("a/event/x", zero.Add(15*time.Minute)) {
		t.Error("a failed attempt does not make the wait longer")
	}
	die(true, "a/event/y")
	if culprit, _ = die(true, "a/event/y"); culprit != "a/event/y" {
		t.Fatalf("the second topic: %q", culprit)
	}
	b.Convict(culprit, zero)
	if !b.Aside("a/event/z", zero) || len(b.Verdicts()) != 1 {
		t.Errorf("two topics of a class do not stand for it: %+v", b.Verdicts())
	}
	if b.Acked("a/event/z", zero); !b.Clear() {
		t.Error("what passed is still set aside")
	}
}

// Somebody else under the same client id ends sessions whatever is in flight, silent ones too.
func TestBlameIsNotMisledByATwin(t *testing.T) {
	var b Blame
	b.Died([]string{"a/status"}, true, zero)
	b.Died([]string{"a/status"}, true, zero)
	if !b.Quiet() {
		t.Fatal("no silent session follows")
	}
	if culprit, explained := b.Died(nil, true, zero); culprit != "" || explained || !b.Clear() {
		t.Errorf("after a silent session that ended: %q %v, clear %v", culprit, explained, b.Clear())
	}
	if _, explained := b.Died([]string{"a/meta/x"}, true, zero); explained {
		t.Error("another topic is explained by the one before")
	}
}

// A topic that passed lately is set aside only after five deaths in a row: the broker may have lost acknowledgements.
func TestBlameIsSlowWithWhatPassedLately(t *testing.T) {
	var b Blame
	b.Acked("a/event/x", zero)
	now := zero.Add(time.Minute)
	b.Died([]string{"a/event/y"}, false, now)
	for n := 2; n <= sureDeaths; n++ {
		culprit, explained := b.Died([]string{"a/event/y"}, false, now)
		if culprit != "a/event/y" || !explained || b.IsSure(culprit, now) != (n == sureDeaths) {
			t.Errorf("death %d: culprit %q, explained %v, sure %v", n, culprit, explained, b.IsSure(culprit, now))
		}
	}
	if b.suspects["a/event/y"] = 2; !b.IsSure("a/event/y", zero.Add(2*time.Hour)) {
		t.Error("what passed two hours ago still counts")
	}
	if b.suspects["a/hist/y"] = 2; !b.IsSure("a/hist/y", now) {
		t.Error("a class of which nothing passed needs more than two deaths")
	}
}
