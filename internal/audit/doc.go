// Package audit reads the journal for people and collectors: it finds records by
// caller, tool, outcome, session, call and time, follows what is written, and gives
// records the forms that collectors take. The daemon makes a Log over its journal,
// the front serves it, the command line uses the forms. It must never write to the
// journal, and never return a line whose hash is not right.
//
// For every closed segment there is an index beside it: for each record where its
// line is, when it was written, and numbers for what can be asked for, with the
// texts that they stand for. It is made when the segment is closed, and anew when it
// is missing or damaged. The live segment's is in memory.
package audit
