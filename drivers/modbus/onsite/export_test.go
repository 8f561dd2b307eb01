package onsite

// UnitsOf is unitsOf, for tests.
var UnitsOf = unitsOf
