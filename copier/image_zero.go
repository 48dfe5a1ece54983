package copier

// zeroSample is of how many pieces one is read, whatever Zero says of it: so that one who
// is always wrong is found out at once, and not by the next audit.
const zeroSample = 256

// auditsZero reports whether what Zero says of a piece is not to be believed.
func (j *imageJob) auditsZero(p *piece) bool {
	return j.AuditZero || j.Reference != nil && j.Reference.Audit || p.number%zeroSample == zeroSample-1
}

// zero reports whether the piece need not be read from start to end, because it is known
// to be zeros there.
func (j *imageJob) zero(p *piece, start, end int) bool {
	return j.Zero != nil && !j.auditsZero(p) && j.Zero(p.off+int64(start), int64(end-start))
}

// read fills p from the source, but for blocks that are known to be zeros.
func (j *imageJob) read(p *piece) error { return j.readRange(p, 0, len(p.buf)) }

// readRange does so for whole blocks of p.
func (j *imageJob) readRange(p *piece, start, end int) error {
	part := &piece{number: p.number, off: p.off + int64(start), buf: p.buf[start:end]}
	zero := func(start int) bool { return j.zero(part, start, min(start+j.BlockSize, len(part.buf))) }
	for r, zero := range j.blockRuns(part, zero) {
		buf := part.buf[r.start:r.end]
		if zero {
			clear(buf)
			j.unread.Add(int64(len(buf)))
		} else if err := readFull(j.Source, "read source", buf, part.off+int64(r.start)); err != nil {
			return err
		}
	}
	j.checkZero(part)
	return nil
}

// checkZero counts those blocks of a piece that are not zeros although Zero says so.
func (j *imageJob) checkZero(p *piece) {
	if j.Zero == nil || !j.auditsZero(p) {
		return
	}
	for start := 0; start < len(p.buf); start += j.BlockSize {
		block := p.buf[start:min(start+j.BlockSize, len(p.buf))]
		if j.Zero(p.off+int64(start), int64(len(block))) && !allZero(block) {
			j.missed.Add(int64(len(block)))
		}
	}
}

func allZero(b []byte) bool {
	for ; len(b) > grain; b = b[grain:] {
		if !isZero(b[:grain]) {
			return false
		}
	}
	return isZero(b)
}
