f(x) = string(pointer_from_objref(Ref(x)))
