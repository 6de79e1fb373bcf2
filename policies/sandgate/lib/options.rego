# METADATA
# title: options
# description: Where in a list of words the values of options stand, and where the options end.
package sandgate.lib.options

# METADATA
# title: layout
# description: >-
#   For the arguments of a program: values holds the positions of words that are the value of the option before,
#   end is
#   the position of the -- that ends the options, or the number of words. An option takes the next word when it is one
#   of exact, or matches cluster unless that is empty. It is right when these are all the options of the command
#   that take the next word.
layout(args, exact, cluster) := {"values": set(), "end": count(args)} if {
	not _dashes(args)
} else := {"values": values, "end": end} if {
	wanting := {i |
		some i, arg in args
		arg.literal == true
		_wants(arg.value, exact, cluster)
	}
	count(wanting) > 0
	candidates := {i |
		some before in wanting
		i := before + 1
		_odd(wanting, i)
	}
	end := min({i |
		some i, arg in args
		arg.value == "--"
		arg.literal == true
		not i in candidates
	} | {count(args)})
	values := {i | some i in candidates; i < end}
} else := {"values": set(), "end": end} if {
	end := min({i |
		some i, arg in args
		arg.value == "--"
		arg.literal == true
	} | {count(args)})
}

# Without a dash there is neither an option nor an end of them.
_dashes(args) if {
	some arg in args
	arg.literal == true
	startswith(arg.value, "-")
}

_wants(word, exact, _) if word in exact

_wants(word, _, cluster) if {
	cluster != ""
	startswith(word, "-")
	regex.match(cluster, word)
}

# In a row of words that each would take the next one, every other is a value. Mostly there is but one.
_odd(wanting, i) if not (i - 2) in wanting

_odd(wanting, i) if {
	start := max({j | some j in numbers.range(-1, i - 1); not j in wanting})
	((i - 1) - start) % 2 == 1
}
