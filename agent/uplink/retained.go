package uplink

import (
	"slices"
	"sync"
)

// Retained holds the retained messages besides status: topic to payload, with a revision each.
type Retained struct {
	mu    sync.Mutex
	order []string
	items map[string]retainedMessage
}

type retainedMessage struct {
	payload []byte
	rev     uint64
}

// Put sets a topic's payload and reports whether that changed anything.
func (s *Retained) Put(topic string, payload []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.items[topic]
	if ok && string(old.payload) == string(payload) {
		return false
	}
	if !ok {
		s.order = append(s.order, topic)
	}
	if s.items == nil {
		s.items = make(map[string]retainedMessage)
	}
	s.items[topic] = retainedMessage{payload, old.rev + 1}
	return true
}

// remove forgets a topic.
func (s *Retained) remove(topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.items, topic)
	s.order = slices.DeleteFunc(s.order, func(t string) bool { return t == topic })
}

// since returns what has changed against the revisions in seen, and notes the new ones there.
func (s *Retained) since(seen map[string]uint64) []*message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*message
	for _, topic := range s.order {
		if it := s.items[topic]; seen[topic] != it.rev {
			seen[topic] = it.rev
			out = append(out, &message{topic: topic, payload: it.payload, retain: true})
		}
	}
	return out
}
