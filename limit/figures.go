package limit

// Figures are how much of a pool is taken now.
type Figures struct{ Size, Used, Waiting int }

// What returns what the slots are for, in the plural.
func (p *Pool) What() string { return p.what }

// Figures returns how much of the pool is taken.
func (p *Pool) Figures() Figures {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Figures{Size: p.size, Used: p.used, Waiting: p.waiting}
}

// All returns the pools.
func (p *Pools) All() []*Pool {
	return []*Pool{p.Connections, p.Uploads, p.Downloads, p.Listings, p.Changes, p.Hashes}
}
