// Package status is what the programs report of themselves: one schema of
// camera, link, agent and box state, and one list of exit codes. It composes the
// snapshots that the parts' own types give, and holds no state itself. Every
// program part may use it; pkg does not.
package status
