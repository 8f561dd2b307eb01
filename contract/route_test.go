package contract

import (
	"slices"
	"strings"
	"testing"
)

// Every type says how it is stored; what is about access cards is personal, known here or not.
func TestEveryEventHasARoute(t *testing.T) {
	for _, e := range EventTypes() {
		if !slices.Contains(Classes(), e.Class) {
			t.Errorf("%s has the class %q", e.Type, e.Class)
		}
		if card := strings.HasPrefix(e.Type, "bordo.card."); card != (e.Class == ClassCard) {
			t.Errorf("%s has the class %q", e.Type, e.Class)
		}
	}
	for typ, want := range map[string]Route{
		EnergyInterval:              {ClassInterval, KindEvent},
		CommandEvent:                {ClassEvent, KindRes},
		StoreGap:                    {ClassEvent, KindEvent},
		"bordo.card.of.tomorrow.v1": {ClassCard, KindEvent},
		"bordo.thing.unknown.v9":    {ClassEvent, KindEvent},
	} {
		if got := RouteOf(typ); got != want {
			t.Errorf("%s: %+v, want %+v", typ, got, want)
		}
	}
}
