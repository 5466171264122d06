package limiter

import (
	"slices"
	"time"
)

// Group is a set of windows. A request passes only if each window lets it pass. A request that one of them
// denies uses no quota of the others. A window may be in several groups. A Group is safe for concurrent use.
type Group struct {
	members []member // in the order in which they are locked, the same in all groups
}

// member is a window, and its index among the arguments of NewGroup.
type member struct {
	window *Window
	index  int
}

// NewGroup returns a Group of at least one window. It panics if a window is in it twice.
func NewGroup(windows ...*Window) *Group {
	g := &Group{}
	for i, w := range windows {
		g.members = append(g.members, member{w, i})
	}
	slices.SortFunc(g.members, func(a, b member) int { return int(a.window.id) - int(b.window.id) })
	for i := range g.members[1:] {
		if g.members[i].window == g.members[i+1].window {
			panic("pace: BUG: a window is in a group twice")
		}
	}
	return g
}

// visit is one request at one member.
type visit struct {
	shard  *shard
	hash   uint64
	at     time.Duration
	turn   uint64 // 0: the request used no quota and was not denied here
	denies bool
}

// Allow uses one request of k's quota in each window, if one remains in all of them. now is as in
// [Window.Allow]. The decision is that of one window, whose index Allow returns. For a denied request it is
// the window with the longest wait, otherwise the one with the fewest requests remaining.
func (g *Group) Allow(k Key, now time.Time) (d Decision, index int) {
	if len(g.members) == 1 {
		return g.members[0].window.Allow(k, now), 0
	}
	var few [4]visit
	visits := few[:0]
	if k != (Key{}) {
		visits = g.lock(visits, k, now)
	}
	denied := slices.ContainsFunc(visits, func(v visit) bool { return v.denies })
	for i, m := range g.members {
		var here Decision
		switch {
		case k == (Key{}):
			here = m.window.unlimited()
		case denied && !visits[i].denies:
			continue
		default:
			v := &visits[i]
			here = v.shard.allow(k, v.hash, v.at)
			v.turn = v.shard.allowed
		}
		if d == (Decision{}) || here.decides(d) {
			d, index = here, m.index
		}
	}
	for i := range visits {
		visits[i].shard.mu.Unlock()
	}
	for i, v := range visits {
		if v.turn > 0 {
			g.members[i].window.takeTurn(v.turn, v.at)
		}
	}
	return d, index
}

// lock locks k's shard in each window, and asks whether the window denies the request.
func (g *Group) lock(visits []visit, k Key, now time.Time) []visit {
	for _, m := range g.members {
		v := visit{at: now.Sub(m.window.start)}
		v.shard, v.hash = m.window.shard(k)
		v.shard.mu.Lock()
		v.denies = v.shard.wouldDeny(k, v.hash, v.at)
		visits = append(visits, v)
	}
	return visits
}

// decides reports whether d says more about a request than another decision of the same kind.
func (d Decision) decides(other Decision) bool {
	if d.Remaining != other.Remaining {
		return d.Remaining < other.Remaining
	}
	return d.Reset > other.Reset
}
