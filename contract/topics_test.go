package contract

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestTopics: each topic as the contract spells it, and back.
func TestTopics(t *testing.T) {
	tp, err := NewTopics("", "cremasco", "quintano")
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		tp.Tele("inv-1"):   "bordo/v1/cremasco/quintano/tele/inv-1",
		tp.Hist("inv-1"):   "bordo/v1/cremasco/quintano/hist/inv-1",
		tp.Histz("inv-1"):  "bordo/v1/cremasco/quintano/histz/inv-1",
		tp.Event("node"):   "bordo/v1/cremasco/quintano/event/node",
		tp.Status():        "bordo/v1/cremasco/quintano/status",
		tp.Meta("inv-1"):   "bordo/v1/cremasco/quintano/meta/inv-1",
		tp.Cmd():           "bordo/v1/cremasco/quintano/cmd",
		tp.Res():           "bordo/v1/cremasco/quintano/res",
		tp.Ack():           "bordo/v1/cremasco/quintano/ack",
		tp.Access(3):       "bordo/v1/cremasco/quintano/access/3",
		tp.AccessFilter():  "bordo/v1/cremasco/quintano/access/+",
		tp.Source("inv-1"): "/cremasco/quintano/inv-1",
		tp.Root():          "bordo",
		tp.Tenant():        "cremasco",
		tp.Node():          "quintano",

		Filter("", "", "", KindTele):                   "bordo/v1/+/+/tele/+",
		Filter("acme", "cremasco", "", KindStatus):     "acme/v1/cremasco/+/status",
		Filter("", "cremasco", "quintano", KindAccess): "bordo/v1/cremasco/quintano/access/+",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestParseTopic: what NewTopics makes is taken apart again, under any root.
func TestParseTopic(t *testing.T) {
	id := rapid.StringMatching(`[a-z0-9][a-z0-9-]{0,47}`)
	rapid.Check(t, func(t *rapid.T) {
		root := strings.Join(rapid.SliceOfN(id, 1, 3).Draw(t, "root"), "/")
		want := Address{Tenant: id.Draw(t, "tenant"), Node: id.Draw(t, "node"), Dev: id.Draw(t, "dev")}
		tp, err := NewTopics(root, want.Tenant, want.Node)
		if err != nil {
			t.Fatal(err)
		}
		for kind, topic := range map[string]string{
			KindTele: tp.Tele(want.Dev), KindHist: tp.Hist(want.Dev), KindHistz: tp.Histz(want.Dev),
			KindEvent: tp.Event(want.Dev),
			KindMeta:  tp.Meta(want.Dev), KindStatus: tp.Status(), KindCmd: tp.Cmd(), KindRes: tp.Res(),
			KindAck: tp.Ack(),
		} {
			w := want
			w.Kind = kind
			if !perDevice(kind) {
				w.Dev = ""
			}
			if got, err := ParseTopic(root, topic); err != nil || got != w {
				t.Fatalf("%s: %+v, %v", topic, got, err)
			}
			if _, err := ParseTopic(root+"-", topic); err == nil {
				t.Fatalf("%s was found below another root", topic)
			}
		}
	})
}

// TestParseTopicRefuses: what is none of ours.
func TestParseTopicRefuses(t *testing.T) {
	for _, topic := range []string{
		"", "bordo", "bordo/v1", "bordo/v2/a/b/status", "bordo/v1/a/b", "bordo/v1/a/b/tele", "bordo/v1/a/b/tele/c/d",
		"bordo/v1/a/b/status/c", "bordo/v1/a/b/other/c", "bordo/v1/A/b/tele/c", "bordo/v1/a//tele/c",
		"bordo/v1/a/b/tele/+", "/bordo/v1/a/b/status",
	} {
		if a, err := ParseTopic("", topic); err == nil {
			t.Errorf("%q is %+v", topic, a)
		}
	}
}

// TestChecks: the forms of ids, keys, roots and epochs.
func TestChecks(t *testing.T) {
	long := strings.Repeat("a", 65)
	for _, c := range []struct {
		name  string
		check func(string) error
		good  []string
		bad   []string
	}{
		{"id", CheckID, []string{"a", "0", "node", "pi-0042", long[:48]},
			[]string{"", "-a", "A", "a_b", "a.b", "a b", "à", "a\n", long[:49]}},
		{"device", CheckDevice, []string{"inv-1"}, []string{"node", "", "Inv"}},
		{"key", CheckKey, []string{"a", "ac_power", "dc1_voltage", long[:64]},
			[]string{"", "1a", "_a", "aC", "a-b", "a\n", long}},
		{"epoch", CheckEpoch, []string{"k3f9x2q7", "00000000"},
			[]string{"", "k3f9x2q", "k3f9x2q77", "K3F9X2Q7", "k3f9x2q\n"}},
		{"root", CheckRoot, []string{"bordo", "a/b/c"}, []string{"", "/bordo", "bordo/", "a/b/c/d", "a/+", "#"}},
	} {
		for _, s := range c.good {
			if err := c.check(s); err != nil {
				t.Errorf("%s %q: %v", c.name, s, err)
			}
		}
		for _, s := range c.bad {
			if c.check(s) == nil {
				t.Errorf("%s %q was accepted", c.name, s)
			}
		}
	}
	for _, bad := range [][3]string{{"Root", "t", "n"}, {"", "T", "n"}, {"", "t", "N"}} {
		if _, err := NewTopics(bad[0], bad[1], bad[2]); err == nil {
			t.Errorf("NewTopics%v was accepted", bad)
		}
	}
}
