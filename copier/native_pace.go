package copier

// pace chooses how many workers there are by what they get done. A source that
// answers late gets many, because they wait most of their time; a local one
// gets few, because more would only wait for each other.
//
// It doubles the number while that brings at least a tenth more, goes back by
// one step when it did not, and tries again after a while, because a tree of
// large files can turn into one of small files.
type pace struct {
	workers, most int
	// before is the rate that the previous number of workers had; 0 when there
	// was none.
	before float64
	// sum and samples average the rate of the present number.
	sum     float64
	samples int
	rest    int // Samples until the next try.
}

const (
	firstWorkers = 4
	paceSamples  = 2  // For one decision.
	paceRest     = 50 // After a step that brought nothing.
	paceGain     = 1.1
)

func newPace(most int) *pace { return &pace{workers: min(firstWorkers, most), most: most} }

// next takes the rate since the last call and returns the number of workers.
func (p *pace) next(rate float64) int {
	if p.rest > 0 {
		p.rest--
		return p.workers
	}
	p.sum += rate
	if p.samples++; p.samples < paceSamples {
		return p.workers
	}
	rate, p.sum, p.samples = p.sum/paceSamples, 0, 0
	switch {
	case p.before > 0 && rate < p.before*paceGain:
		p.workers, p.before, p.rest = max(p.workers/2, min(firstWorkers, p.most)), 0, paceRest
	case p.workers < p.most:
		p.workers, p.before = min(2*p.workers, p.most), rate
	default:
		p.before, p.rest = 0, paceRest
	}
	return p.workers
}
