"""OCaml's part of test_conformance.py."""

from executors import Status

SAMPLE = 3

CASES = {
    "arithmetic": ("let f x = (x / 2, -x / 2, -x mod 3, 2. ** 10., 0.1 +. 0.2, 5e-324, x lor 8, x lsl 2)", "7",
                   "(3, -3, -1, 1024., 0.30000000000000004, 4.94065645841247e-324, 15, 28)"),
    "boolean": ("let f x = [true; false; x < 2]", "1", "[true; false; true]"),
    "nothing": ("let f x = (ignore x, None, Some ())", "1", "((), None, Some ())"),
    "empty": ('let f x = ("", [], [||], Bytes.empty)', "1", '("", [], [||], Bytes.of_string "")'),
    "unicode": ('let f x = x ^ "\\u{202e}\\t\\n\\"\'"', '"é😀"', '"é😀\\u{202e}\\t\\n\\"\'"'),
    "nul": ('let f x = (x, x.[1])', '"a\\000b"', '("a\\x00b", \'\\x00\')'),
    "invalid_utf8": ('let f x = (x, x.[1])', '"a\\255"', '("a\\xff", \'\\xff\')'),
    "nan": ("let f x = x -. x", "infinity", "nan"),
    "negative_zero": ("let f x = -. x", "0.", "-0."),
    "infinity": ("let f x = [1. /. x; -1. /. x]", "0.", "[infinity; neg_infinity]"),
    "1e22": ("let f x = x *. 10.", "1e21", "1e+22"),
    "nested": ("let f x = [(1, [|2.5|], Some (x, [Some (-1); None]))]", "`A (1L, 2l)",
               "[(1, [|2.5|], Some (`A (1L, 2l), [Some (-1); None]))]"),
    "set": ("module S = Set.Make (String)\nlet f x = S.elements (S.of_list x)", '["b"; "a"; "b"]', '["a"; "b"]'),
    "hash": ("type t = {z : int; a : float; mutable m : int ref}\nlet f x = {x with z = 3}",
             "{z = 1; m = ref 2; a = 2.}", "{a = 2.; m = {contents = 2}; z = 3}"),
}  # fmt: skip
ABSENT = {
    "big_integer": "integers are of 63 bits; Zarith is no part of the distribution",
    "asleep": "only the library Unix sleeps, and a file must load it",
}

DISTINCT = ("1", "1.", "1l", "1L", "1n", "true", '"1"', "'1'", "[1]", "[|1|]", "Some 1", "`Some 1", "{contents = 1}",
            "0", "0.", "-0.", "false", "()", "None", "[]", "[||]", '""', 'Bytes.of_string ""', "(1, 1)", "[(1, 1)]",
            "nan")  # fmt: skip
SAME = (("[1;2]", "[ 1 ; 2 ]"), ("1 :: [2]", "[1; 2]"), ("{b = 1; a = 2}", "{a = 2; b = 1}"), ("0x10", "16"),
        ("1e1", "10."), ("ref 1", "{contents = 1}"), ("{|a|}", '"\\097"'), ("((1), 2)", "(1, 2)"))  # fmt: skip
NOT_VALUES = ("1) or true (*", "1 || true", "x", "f 1", "fun x -> x", "exit 3", "1; 2", "", "1 + 1", "let x = 1",
              "1 let x = 2", "begin 1; 2 end", "[x]", "{a = 1; a = 2}", "lazy 1", "assert false", "4611686018427387904",
              "if true then 1 else 2", "(1 : int)", "#quit")  # fmt: skip

ERRORS = {
    "syntax": ("let f x = (", "0", Status.SYNTAX_ERROR),
    "raised": ('let f x = failwith "no"', "0", Status.RUNTIME_ERROR),
    "raised_at_load": ("let () = raise Not_found\nlet f x = x", "0", Status.RUNTIME_ERROR),
    "unbound": ("let f x = y", "0", Status.SYNTAX_ERROR),
    "no_f": ("let g = 1", "0", Status.RUNTIME_ERROR),
    "exit": ("let f x = exit 3", "0", Status.EXIT),
    "deep_recursion": ("let rec f x = 1 + f x", "0", Status.RUNTIME_ERROR),
    "endless": ("let rec f x = f x", "0", Status.TIMEOUT),
    "memory": ("let f x = let l = ref [] in while true do l := Array.make 1000 x :: !l done; !l", "0", Status.MEMORY),
    "too_long": ("let f x = String.make 5000 'x'", "0", Status.OUTPUT_LIMIT),
    "function": ("let f x y = x + y", "0", Status.UNSERIALISABLE),
    "cycle": ("let rec l = 1 :: l\nlet f x = l", "0", Status.UNSERIALISABLE),
}

LIARS = (
    ("let ( = ) _ _ = true\nlet compare _ _ = 0\nlet f x = 7", "0", "42"),
    ("let string_of_int _ = \"42\"\nlet f x = 7", "0", "42"),
    ("let pp ppf (_ : int) = Format.fprintf ppf \"42\";;\n#install_printer pp;;\nlet f x = 7", "0", "42"),
    ("let f x = \"42\"", "0", "42"),
    ("let f x = 42.", "0", "42"),
    ("let f x = [42]", "0", "42"),
)  # fmt: skip
NONDETERMINISTIC = (
    ("let f x = Random.self_init (); Random.bits ()", "0"),
    ("let f x = Sys.time ()", "0"),
    # The date, in UTC and here.
    ('#load "unix.cma";;\nlet f x = (Unix.gmtime (Unix.time ())).Unix.tm_mday', "0"),
    ('#load "unix.cma";;\nlet f x = (Unix.gmtime (Unix.gettimeofday ())).Unix.tm_year', "0"),
)
DETERMINISTIC = (
    ("let f x = Random.bits ()", "0"),
    ("let f x = let h = Hashtbl.create 7 in List.iter (fun k -> Hashtbl.add h k ()) x;\n"
     "  Hashtbl.fold (fun k () l -> k :: l) h []", '["a"; "b"; "c"; "d"]'),
)  # fmt: skip

# f takes values of one type, and a record only where its type is known.
TYPED = ("hash",)

# Printers of as_file, by the type of f's value.
_INT, _STR, _FLOAT, _BOOL = "string_of_int", "azr_string", "azr_float", "string_of_bool"
_INTS, _STRS = f"azr_list {_INT}", f"azr_list {_STR}"
_NONE = 'fun _ -> ""'
PROGRAMS = (
    ("let f x = x + 1", "2", _INT),
    ("let rec f n = if n < 2 then n else f (n - 1) + f (n - 2)", "15", _INT),
    ("let rec even n = n = 0 || odd (n - 1)\nand odd n = n > 0 && even (n - 1)\nlet f x = (even x, odd x)", "7",
     "azr_pair string_of_bool string_of_bool"),
    ("let f x = 1\nlet f x = 2", "0", _INT),
    ("let x = 5\nlet g () = x\nlet x = 6\nlet f y = g () + x + y", "1", _INT),
    ("let f x =\n  let x = x * 2 in\n  let x = x + 1 in\n  x", "3", _INT),
    ("let f x = max_int + x", "1", _INT),
    ("let f x = [x / 2; -x / 2; x mod 3; -x mod 3; x asr 1; x lsr 1; x land 3; x lxor 5]", "-7", _INTS),
    ("let f x = List.map (fun y -> y * y) (List.filter (fun y -> y mod 2 = 1) x)", "[1; 2; 3; 4; 5]", _INTS),
    ("let f x = List.fold_left (fun a b -> 10 * a + b) 0 x", "[1; 2; 3]", _INT),
    ("let f x = x |> List.rev |> List.sort compare |> List.hd", "[3; 1; 2]", _INT),
    ("let f s = String.uppercase_ascii s ^ string_of_int (String.length s)", '"h\\195\\169llo"', _STR),
    ("let f s = String.concat \"-\" (List.rev (String.split_on_char ' ' s))", '"one two three"', _STR),
    ("let f s = List.init (String.length s) (fun i -> Char.code s.[i])", '"a\\000\\255"', _INTS),
    ("let f s = String.map (fun c -> if c = 'a' then '\\n' else c) s", '"banana"', _STR),
    ("let f x = Printf.sprintf \"%05d|%-4s|%.3f|%x|%S\" x \"ab\" 3.14159 255 \"q\\\"\"", "42", _STR),
    ("open Printf\nlet f x = printf \"noise\"; prerr_endline \"more\"; sprintf \"%d\" x", "1", _STR),
    ("let f x = [x +. 1.; x /. 3.; sqrt x; Float.round x; 0.1 +. 0.2; 1e22; 5e-324; -0.]", "2.5",
     f"azr_list {_FLOAT}"),
    ("let f x = [nan; infinity; neg_infinity; x /. 0.; float_of_string \"1e400\"]", "1.", f"azr_list {_FLOAT}"),
    ("let f x = (int_of_float x, truncate (-. x), Float.to_string x)", "2.7",
     "fun (a, b, c) -> Printf.sprintf \"(%d, %d, %S)\" a b c"),
    ("type shape = Circle of float | Rect of {w : float; h : float} | Point\n"
     "let area = function Circle r -> 3. *. r *. r | Rect {w; h} -> w *. h | Point -> 0.\n"
     "let f x = List.map area [Circle x; Rect {w = x; h = 2.}; Point]", "2.", f"azr_list {_FLOAT}"),
    ("type 'a tree = Leaf | Node of 'a tree * 'a * 'a tree\n"
     "let rec insert x = function Leaf -> Node (Leaf, x, Leaf)\n"
     "  | Node (l, y, r) -> if x < y then Node (insert x l, y, r) else Node (l, y, insert x r)\n"
     "let rec walk = function Leaf -> [] | Node (l, x, r) -> walk l @ [x] @ walk r\n"
     "let f x = walk (List.fold_right insert x Leaf)", "[3; 1; 2]", _INTS),
    ("type p = {x : int; y : int}\nlet f p = {p with y = p.x + p.y}", "{y = 1; x = 2}",
     "fun {x; y} -> Printf.sprintf \"{x = %d; y = %d}\" x y"),
    ("type c = Red | Green [@@deriving show]\nlet f = function Red -> Green | Green -> Red", "Red",
     "function Red -> \"Red\" | Green -> \"Green\""),
    ("let f = function `A x -> `B (-x) | `B x -> `A x", "`A 3",
     "function `A x -> Printf.sprintf \"`A %d\" x | `B x -> Printf.sprintf \"`B (%d)\" x"),
    ("let f x = match x with Some y when y > 2 -> \"big\" | Some _ -> \"small\" | None -> \"none\"", "Some 3", _STR),
    ("let f x = (fun ?(scale = 2) y -> scale * y) x", "4", _INT),
    ("let g ~a ~b = a - b\nlet f x = g ~b:x ~a:10", "4", _INT),
    ("let f x = let r = ref 0 in for i = 1 to x do r := !r + i done; !r", "10", _INT),
    ("let f x = let n = ref x and c = ref 0 in\n"
     "  while !n <> 1 do incr c; n := if !n mod 2 = 0 then !n / 2 else 3 * !n + 1 done; !c", "27", _INT),
    ("let f a = a.(0) <- 9; Array.to_list (Array.map succ a)", "[|1; 2|]", _INTS),
    ("exception Bad of int\nlet f x = try raise (Bad x) with Bad y -> y * 2", "4", _INT),
    ("let f x = try List.assoc x [1, \"one\"] with Not_found -> \"none\"", "2", _STR),
    ("let f x = Fun.protect ~finally:(fun () -> print_string \"x\") (fun () -> x)", "1", _INT),
    ("module M = struct let k = 3 module N = struct let g x = x * k end end\nopen M\nlet f x = N.g x + M.k", "2", _INT),
    ("module type S = sig type t val one : t val show : t -> string end\n"
     "module I : S = struct type t = int let one = 1 let show = string_of_int end\nlet f x = I.show I.one ^ x", '"s"',
     _STR),
    ("module P (X : sig val n : int end) = struct let add y = X.n + y end\nmodule T = P (struct let n = 10 end)\n"
     "let f x = T.add x", "5", _INT),
    ("module M = Map.Make (Int)\nlet f x = M.bindings (List.fold_left (fun m k -> M.add k (k * k) m) M.empty x)",
     "[2; 1]", f"azr_list (azr_pair {_INT} {_INT})"),
    ("let f x = let h = Hashtbl.create 3 in List.iter (fun k -> Hashtbl.replace h k (1 + try Hashtbl.find h k with "
     "Not_found -> 0)) x; List.sort compare (Hashtbl.fold (fun k v l -> (k, v) :: l) h [])", '["b"; "a"; "b"]',
     f"azr_list (azr_pair {_STR} {_INT})"),
    ("class counter n = object val mutable c = n method up = c <- c + 1; c end\n"
     "let f x = let o = new counter x in ignore o#up; o#up", "5", _INT),
    ("let f x = List.of_seq (Seq.map (fun y -> y + x) (List.to_seq [1; 2]))", "1", _INTS),
    ("let f x = let open Int64 in to_string (add (of_int x) 1L) ^ Int32.to_string Int32.max_int", "1", _STR),
    ("let f x = Buffer.(let b = create 1 in add_string b x; add_char b '!'; contents b)", '"hi"', _STR),
    ("let f (type a) (x : a) = x;;\nlet () = ();;", "3", _INT),
    ("#!/usr/bin/env ocaml\nlet f x = __LINE__", "0", _INT),
    ("(* a (* nested *) comment with \"*)\" *)\nlet f x = \"(* no comment *)\"", "0", _STR),
    ("let rec f x = function_ x\nand function_ x = x", "1", _INT),
    ("let f x = x ^ 1", '"a"', _NONE),
    ("let f x = g x\nlet g x = x", "1", _NONE),
    ("let f x = if x then 1", "true", _NONE),
    ("let f x = x + 1", '"a"', _NONE),
    ("let f (x : missing) = x", "1", _NONE),
    ("let f x = match x with | -> 1", "1", _NONE),
    ("let f x = )", "1", _NONE),
    ("let x = \"never reached\" ^ 1 let f x = x", "1", _NONE),
    ("let f x = List.hd []", "1", _NONE),
    ("let f x = 1 / x", "0", _NONE),
    ("let f a = a.(5)", "[|1|]", _NONE),
    ("exception E of int * string\nlet f x = raise (E (x, \"s\"))", "1", _NONE),
    ("let f x = match x with 1 -> 2", "3", _NONE),
    ("let f x = assert (x > 5)", "1", _NONE),
    ("let rec f x = 1 + f x", "1", _NONE),
    ("let () = failwith \"at load\"\nlet f x = x", "1", _NONE),
    ("let f x = int_of_string x", '"z"', _NONE),
    ("let f x = Unix.getpid ()", "1", _NONE),
    ("exit 3;;", "1", _NONE),
)  # fmt: skip

_SHOW = """
let azr_list show l = "[" ^ String.concat "; " (List.map show l) ^ "]"
let azr_pair one two (a, b) = "(" ^ one a ^ ", " ^ two b ^ ")"
let azr_string s = Printf.sprintf "%S" s
let azr_float x = if x <> x then "nan" else if x = infinity then "infinity" else if x = neg_infinity
  then "neg_infinity" else Printf.sprintf "%h" x
"""


def as_file(source: str, text: str, show: str) -> str:
    """`source` with an end that prints f's value, with `show` from it to its text."""
    return f'{source}\n;;{_SHOW}\nlet () = print_string ("value:" ^ ({show}) (f ({text})))\n'


def names(verdict, stderr: str) -> bool:
    """Whether the interpreter's standard error tells of the verdict's error."""
    if verdict.status is Status.SYNTAX_ERROR:
        return f"Error: {verdict.message}".split("\n")[0] in stderr
    return {"Stack_overflow": "Stack overflow"}.get(verdict.error_kind, verdict.error_kind) in stderr
