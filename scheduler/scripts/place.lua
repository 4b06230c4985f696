-- place: goes on counting the entries before one in its line, where `why` had to stop. Writes nothing.
--
-- @keys waiting
-- @argv stream:str after:str entry:str most:int
-- @include place
-- REPLY: {how many, the entry reached or '' when all are counted}

local count, reached = count_between(domain_tag .. stream, after, entry, most)
return {count, reached}
