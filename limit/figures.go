package limit

// Figures are how many slots of a pool are taken now, and how many waiters wait.
type Figures struct{ Size, Used, Waiting int }

// What returns the use of the slots, in the plural.
func (p *Pool) What() string { return p.what }

// Figures returns the present figures of the pool.
func (p *Pool) Figures() Figures {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Figures{Size: p.size, Used: p.used, Waiting: p.waiting}
}

// All returns the pools.
func (p *Pools) All() []*Pool {
	return []*Pool{p.Connections, p.Uploads, p.Downloads, p.Listings, p.Archives, p.Changes, p.Hashes}
}
