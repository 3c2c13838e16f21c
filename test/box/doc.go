// Package box tests whole boxes: the three programs as processes, as an
// operator starts them, with a real redis-server. It has tests only.
package box
