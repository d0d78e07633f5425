package rules

// Empty reports whether the state holds nothing at all, not even what a request was
// answered with: then there is nothing to erase (IMP-10).
func (m *Memory) Empty() bool {
	return len(m.byToken) == 0 && len(m.byPerson) == 0 && len(m.cases) == 0 && len(m.settled) == 0
}
