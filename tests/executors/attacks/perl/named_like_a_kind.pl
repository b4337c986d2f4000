sub f { return [bless({}, 'ARRAY'), bless([], 'HASH'), bless([], '0')] }
