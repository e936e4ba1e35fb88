package vfs

// extents is a set of page numbers: sorted ranges that do not touch.
type extents []extent

type extent struct{ from, to int64 } // to is excluded

// missing counts the pages of [from, to) that are not in the set.
func (e extents) missing(from, to int64) int64 {
	n := to - from
	for _, x := range e {
		n -= max(0, min(to, x.to)-max(from, x.from))
	}
	return n
}

// add puts [from, to) into the set.
func (e *extents) add(from, to int64) {
	var out extents
	i := 0
	for ; i < len(*e) && (*e)[i].to < from; i++ {
		out = append(out, (*e)[i])
	}
	for ; i < len(*e) && (*e)[i].from <= to; i++ {
		from, to = min(from, (*e)[i].from), max(to, (*e)[i].to)
	}
	out = append(out, extent{from, to})
	*e = append(out, (*e)[i:]...)
}

// cut takes all pages from number on out of the set and returns how many.
func (e *extents) cut(from int64) int64 {
	var cut int64
	for len(*e) > 0 {
		last := &(*e)[len(*e)-1]
		if last.to <= from {
			break
		}
		cut += last.to - max(from, last.from)
		if last.from < from {
			last.to = from
			break
		}
		*e = (*e)[:len(*e)-1]
	}
	return cut
}

// count returns how many pages are in the set.
func (e extents) count() int64 {
	var n int64
	for _, x := range e {
		n += x.to - x.from
	}
	return n
}
