external open_out_descriptor : int -> out_channel = "caml_ml_open_descriptor_out"
external leave : int -> 'a = "caml_sys_exit"

(* One phrase: its definitions are local, so no program can rebind them. *)
let () =
  let exception Not_a_value in
  let exception Unserialisable of string in
  let exception Too_long in
  let exception Failed of string list in
  let max_depth = 200 in
  let parse = !Toploop.parse_use_file in
  (* Of the compiler's modules the toplevel has only Toploop and Topdirs; of the others only the types can be used. *)
  let located txt =
    { Location.txt; loc = { Location.loc_start = Lexing.dummy_pos; loc_end = Lexing.dummy_pos; loc_ghost = true } } in

  (* Texts of values: the text, and whether it needs parentheses as an argument. *)
  let decode text at =
    (* The code point at [at] and its length in bytes, or a length of 0 if the bytes are not UTF-8. *)
    let byte i = if i < String.length text then Char.code text.[i] else 0 in
    let rest count first least =
      let rec go i code =
        if i = count then (if code < least || (code >= 0xD800 && code < 0xE000) || code > 0x10FFFF then (0, 0)
                           else (code, count))
        else if byte (at + i) land 0xC0 <> 0x80 then (0, 0)
        else go (i + 1) ((code lsl 6) lor (byte (at + i) land 0x3F)) in
      go 1 first in
    let first = byte at in
    if first < 0x80 then (first, 1)
    else if first land 0xE0 = 0xC0 then rest 2 (first land 0x1F) 0x80
    else if first land 0xF0 = 0xE0 then rest 3 (first land 0x0F) 0x800
    else if first land 0xF8 = 0xF0 then rest 4 (first land 0x07) 0x10000
    else (0, 0) in
  let characters text =
    let rec go at count =
      if at >= String.length text then count else go (at + max 1 (snd (decode text at))) (count + 1) in
    go 0 0 in
  let invisible code =
    code < 0x20 || (code >= 0x7F && code < 0xA0) || (code >= 0x200B && code <= 0x200F)
    || (code >= 0x2028 && code <= 0x202E) || (code >= 0x2060 && code <= 0x206F) || code = 0xFEFF in
  let escaped text =
    let out = Buffer.create (String.length text + 16) in
    let rec go at =
      if at < String.length text then begin
        let code, length = decode text at in
        (match text.[at] with
         | '"' -> Buffer.add_string out "\\\""
         | '\\' -> Buffer.add_string out "\\\\"
         | '\n' -> Buffer.add_string out "\\n"
         | '\t' -> Buffer.add_string out "\\t"
         | '\r' -> Buffer.add_string out "\\r"
         | byte when length = 0 || code < 0x80 && invisible code -> Printf.bprintf out "\\x%02x" (Char.code byte)
         | _ when invisible code -> Printf.bprintf out "\\u{%x}" code
         | _ -> Buffer.add_string out (String.sub text at length));
        go (at + max 1 length)
      end in
    go 0;
    Buffer.contents out in
  (* A character has at most four bytes. *)
  let most_bytes = ref max_int in
  let string_text text =
    if String.length text > !most_bytes then raise Too_long else "\"" ^ escaped text ^ "\"" in
  let char_text c =
    match c with
    | '\'' -> "'\\''"
    | '"' -> "'\"'"
    | c when Char.code c < 0x80 -> "'" ^ escaped (String.make 1 c) ^ "'"
    | c -> Printf.sprintf "'\\x%02x'" (Char.code c) in
  let signed text = (text, text.[0] = '-') in
  let float_text x =
    if x <> x then "nan"
    else if x = infinity then "infinity"
    else if x = neg_infinity then "neg_infinity"
    else begin
      let rec shortest digits =
        let text = Printf.sprintf "%.*g" digits x in
        if digits = 17 || float_of_string text = x then text else shortest (digits + 1) in
      let text = shortest 15 in
      if String.contains text '.' || String.contains text 'e' then text else text ^ "."
    end in
  let argument (text, compound) = if compound then "(" ^ text ^ ")" else text in
  let plain texts = String.concat "; " (List.map fst texts) in
  let tuple_text texts = ("(" ^ String.concat ", " (List.map fst texts) ^ ")", false) in
  let applied name text = (name ^ " " ^ argument text, true) in
  let record_text fields =
    let fields = List.sort (fun (a, _) (b, _) -> String.compare a b) fields in
    ("{" ^ String.concat "; " (List.map (fun (name, (text, _)) -> name ^ " = " ^ text) fields) ^ "}", false) in
  let is_name text = text <> "" && (match text.[0] with 'A' .. 'Z' | 'a' .. 'z' | '_' -> true | _ -> text = "()") in

  (* From the form that the toplevel would print. *)
  let written (value : Outcometree.out_value) =
    let open Outcometree in
    let last = function
      | Oide_ident { printed_name = name; _ } | Oide_dot (_, name) -> name
      | Oide_apply _ -> raise (Unserialisable "a functor's value") in
    let rec text depth value =
      let several = List.map (text (depth + 1)) in
      match value with
      | Oval_int n -> signed (string_of_int n)
      | Oval_int32 n -> signed (Int32.to_string n ^ "l")
      | Oval_int64 n -> signed (Int64.to_string n ^ "L")
      | Oval_nativeint n -> signed (Nativeint.to_string n ^ "n")
      | Oval_float x -> signed (float_text x)
      | Oval_char c -> (char_text c, false)
      | Oval_string (s, _, Ostr_string) -> (string_text s, false)
      | Oval_string (s, _, Ostr_bytes) -> applied "Bytes.of_string" (string_text s, false)
      | Oval_list values -> ("[" ^ plain (several values) ^ "]", false)
      | Oval_array values -> ("[|" ^ plain (several values) ^ "|]", false)
      | Oval_tuple values -> tuple_text (several values)
      | Oval_record fields ->
        record_text (List.map (fun (name, field) -> (last name, text (depth + 1) field)) fields)
      | Oval_constr (name, arguments) ->
        let name = last name in
        if not (is_name name) then raise (Unserialisable ("the constructor " ^ name));
        (match several arguments with
         | [] -> (name, false)
         | [ one ] -> applied name one
         | several -> applied name (tuple_text several))
      | Oval_variant (tag, None) -> ("`" ^ tag, false)
      | Oval_variant (tag, Some value) -> applied ("`" ^ tag) (text (depth + 1) value)
      | Oval_ellipsis ->
        if depth >= max_depth then raise (Unserialisable (Printf.sprintf "more than %d levels" max_depth))
        else raise Too_long
      | Oval_stuff what -> raise (Unserialisable what)
      | Oval_printer _ -> raise (Unserialisable "a value with a printer of the program's") in
    text 0 value in

  (* From syntax: the text of a value, and the expression without names that a program may have rebound. *)
  let read_expression expression =
    let open Parsetree in
    let checked condition result = if condition then result else raise Not_a_value in
    let last (name : Longident.t Location.loc) =
      match name.txt with Lident name | Ldot (_, name) -> name | Lapply _ -> raise Not_a_value in
    let constant e text literal = (text, { e with pexp_desc = Pexp_constant literal; pexp_attributes = [] }) in
    let floating e x =
      constant e (signed (float_text x)) (Pconst_float (Printf.sprintf "%h" x, None)) in
    let integer e n = constant e (signed (string_of_int n)) (Pconst_integer (string_of_int n, None)) in
    let rec value depth e =
      if depth > max_depth + 1 || e.pexp_attributes <> [] then raise Not_a_value;
      let one = value (depth + 1) in
      let several es = List.split (List.map one es) in
      let same text desc = (text, { e with pexp_desc = desc }) in
      match e.pexp_desc with
      | Pexp_constant (Pconst_integer (digits, suffix) as literal) ->
        let text = match suffix with
          | None -> string_of_int (int_of_string digits)
          | Some 'l' -> Int32.to_string (Int32.of_string digits) ^ "l"
          | Some 'L' -> Int64.to_string (Int64.of_string digits) ^ "L"
          | Some 'n' -> Nativeint.to_string (Nativeint.of_string digits) ^ "n"
          | Some _ -> raise Not_a_value in
        constant e (signed text) literal
      | Pexp_constant (Pconst_float (digits, None)) -> floating e (float_of_string digits)
      | Pexp_constant (Pconst_char c as literal) -> constant e (char_text c, false) literal
      | Pexp_constant (Pconst_string (s, _, _) as literal) -> constant e (string_text s, false) literal
      | Pexp_ident { txt = Lident "nan"; _ } -> floating e nan
      | Pexp_ident { txt = Lident "infinity"; _ } -> floating e infinity
      | Pexp_ident { txt = Lident "neg_infinity"; _ } -> floating e neg_infinity
      | Pexp_ident { txt = Lident "max_int"; _ } -> integer e max_int
      | Pexp_ident { txt = Lident "min_int"; _ } -> integer e min_int
      | Pexp_apply ({ pexp_desc = Pexp_ident { txt = Lident ("~-" | "~-."); _ }; _ },
                    [ (Nolabel, { pexp_desc = Pexp_ident { txt = Lident (("infinity" | "nan") as name); _ }; _ }) ]) ->
        floating e (if name = "nan" then nan else neg_infinity)
      | Pexp_apply ({ pexp_desc = Pexp_ident { txt = Lident "ref"; _ }; _ }, [ (Nolabel, content) ]) ->
        let text, content = one content in
        same (record_text [ ("contents", text) ])
          (Pexp_record ([ (located (Longident.Lident "contents"), content) ], None))
      | Pexp_apply (({ pexp_desc = Pexp_ident { txt = Ldot (Lident "Bytes", "of_string"); _ }; _ } as f),
                    [ (Nolabel, ({ pexp_desc = Pexp_constant (Pconst_string _); _ } as content)) ]) ->
        let text, content = one content in
        same (applied "Bytes.of_string" text) (Pexp_apply (f, [ (Nolabel, content) ]))
      | Pexp_tuple es ->
        let texts, es = several es in
        same (tuple_text texts) (Pexp_tuple es)
      | Pexp_array es ->
        let texts, es = several es in
        same ("[|" ^ plain texts ^ "|]", false) (Pexp_array es)
      | Pexp_construct ({ txt = Lident ("[]" | "::"); _ }, _) ->
        let rec elements e reversed =
          match e.pexp_desc with
          | Pexp_construct ({ txt = Lident "[]"; _ }, None) -> List.rev reversed
          | Pexp_construct ({ txt = Lident "::"; _ }, Some { pexp_desc = Pexp_tuple [ head; tail ]; _ }) ->
            elements tail (one head :: reversed)
          | _ -> raise Not_a_value in
        let texts, es = List.split (elements e []) in
        let made desc = { e with pexp_desc = desc } in
        let construct name argument = made (Pexp_construct (located (Longident.Lident name), argument)) in
        ( ("[" ^ plain texts ^ "]", false),
          List.fold_left
            (fun tail head -> construct "::" (Some (made (Pexp_tuple [ head; tail ]))))
            (construct "[]" None) (List.rev es) )
      | Pexp_construct (name, None) -> same (last name, false) e.pexp_desc
      (* None 7 is two arguments, not a value. *)
      | Pexp_construct ({ txt = Lident ("None" | "true" | "false" | "()"); _ }, Some _) -> raise Not_a_value
      | Pexp_construct (name, Some content) ->
        let text, content = one content in
        checked (is_name (last name)) (same (applied (last name) text) (Pexp_construct (name, Some content)))
      | Pexp_variant (tag, None) -> same ("`" ^ tag, false) e.pexp_desc
      | Pexp_variant (tag, Some content) ->
        let text, content = one content in
        same (applied ("`" ^ tag) text) (Pexp_variant (tag, Some content))
      | Pexp_record (fields, None) ->
        let names = List.map (fun (name, _) -> last name) fields in
        let texts, contents = several (List.map snd fields) in
        checked (List.length (List.sort_uniq compare names) = List.length names)
          (same (record_text (List.combine names texts))
             (Pexp_record (List.map2 (fun (name, _) content -> (name, content)) fields contents, None)))
      | _ -> raise Not_a_value in
    try value 0 expression with _ -> raise Not_a_value in
  let read text =
    match parse (Lexing.from_string text) with
    | [ Parsetree.Ptop_def [ { pstr_desc = Pstr_eval (expression, []); _ } ] ] -> read_expression expression
    | _ -> raise Not_a_value
    | exception _ -> raise Not_a_value in

  (* Argument lists: what follows f in a call, such as 1 [2; 3] or ~k:1 (Some 2); a text that is one value, such
     as -1 or Some 2, is one argument. *)
  let expressions_of text =
    let open Parsetree in
    match parse (Lexing.from_string ("f " ^ text ^ "\n")) with
    | [ Ptop_def [ { pstr_desc = Pstr_eval
            ({ pexp_desc = Pexp_apply ({ pexp_desc = Pexp_ident { txt = Lident "f"; _ }; _ }, arguments); _ }, []); _ } ] ]
      -> arguments
    | _ -> raise Not_a_value
    | exception _ -> raise Not_a_value in
  let labelled label text =
    match label with
    | Asttypes.Nolabel -> text
    | Labelled name -> "~" ^ name ^ ":" ^ text
    | Optional name -> "?" ^ name ^ ":" ^ text in
  let arguments_text = function
    | [ (Asttypes.Nolabel, (text, _)) ] -> text
    | several -> String.concat " " (List.map (fun (label, text) -> labelled label (argument text)) several) in
  let read_arguments text =
    match read text with
    | text, expression -> ([ (Asttypes.Nolabel, text) ], [ (Asttypes.Nolabel, expression) ])
    | exception Not_a_value ->
      let read_one (label, e) = let text, e = read_expression e in ((label, text), (label, e)) in
      List.split (List.map read_one (expressions_of text)) in

  (* The program, as `#use` of a file does it: the phrases come from the parser set here, whatever the file holds. *)
  let raised = ref None and printed = ref None in
  let fail status kind message = raise (Failed [ status; kind; message ]) in
  let report text =
    let mark = "Error: " in
    let rec find at =
      if at + String.length mark > String.length text then text
      else if String.sub text at (String.length mark) = mark then
        String.sub text (at + String.length mark) (String.length text - at - String.length mark)
      else find (at + 1) in
    String.trim (find 0) in
  let execute phrases use =
    let said = Buffer.create 100 and is_parsed = ref false in
    let ppf = Format.formatter_of_buffer said in
    (Toploop.parse_use_file := fun _ ->
      Toploop.parse_use_file := parse;
      let phrases = phrases () in
      is_parsed := true;
      phrases);
    raised := None;
    let good =
      try use ppf "/dev/null" with
      | Out_of_memory -> fail "memory" "Out_of_memory" ""
      | problem -> fail "syntax_error" (if !is_parsed then "type" else "syntax") (Printexc.to_string problem) in
    Format.pp_print_flush ppf ();
    match !raised with
    | Some Out_of_memory -> fail "memory" "Out_of_memory" ""
    | Some problem ->
      let message = try Printexc.to_string problem with _ -> "" in
      fail "runtime_error" (Printexc.exn_slot_name problem) message
    | None ->
      if not good then
        fail "syntax_error" (if !is_parsed then "type" else "syntax") (report (Buffer.contents said)) in
  let load source =
    let source =
      if String.length source > 1 && String.sub source 0 2 = "#!" then
        match String.index_opt source '\n' with
        | Some stop -> String.sub source stop (String.length source - stop)
        | None -> ""
      else source in
    execute (fun () -> parse (Lexing.from_string ("# 1 \"program.ml\"\n" ^ source))) Toploop.use_silently in
  let phrase expression =
    match parse (Lexing.from_string "f") with
    | [ Parsetree.Ptop_def [ ({ pstr_desc = Pstr_eval (f, _); _ } as item) ] ] ->
      [ Parsetree.Ptop_def [ { item with pstr_desc = Pstr_eval (expression f, []) } ] ]
    | _ -> assert false in
  (* The value, as text, of an expression made from the expression f, and whether it needs parentheses. *)
  let evaluate expression =
    let nowhere = Format.make_formatter (fun _ _ _ -> ()) ignore in
    printed := None;
    (* With its outcome, which `#use` in a script leaves out; if it has no type, run again for the report. *)
    execute (fun () -> phrase expression) (fun ppf name ->
      match !Toploop.parse_use_file (Lexing.from_string "") with
      | [ item ] ->
        (try Toploop.execute_phrase true nowhere item with
         | Out_of_memory -> raise Out_of_memory
         | _ ->
           (Toploop.parse_use_file := fun _ -> Toploop.parse_use_file := parse; [ item ]);
           Toploop.use_silently ppf name)
      | _ -> assert false);
    match !printed with Some value -> written value | None -> fail "crash" "no_value" "" in
  let call arguments =
    fst (evaluate (fun f -> { f with Parsetree.pexp_desc = Pexp_apply (f, arguments) })) in
  let evaluate_arguments text =
    let refuse why = fail "forbidden" "NotAValue" ("the input can't be evaluated: " ^ why) in
    match read_arguments text with
    | texts, _ -> texts
    | exception Not_a_value ->
      let arguments =
        try expressions_of text with Not_a_value -> fail "forbidden" "NotAValue" "no argument list: write what follows f in a call" in
      List.map (fun (label, e) ->
          match evaluate (fun _ -> e) with
          | text -> (label, text)
          | exception Failed [ "memory"; kind; message ] -> fail "memory" kind message
          | exception Failed [ _; _; "Unbound value f" ] ->
            refuse "an input can't call f: it is evaluated before and without the program"
          | exception Failed [ _; _; message ] -> refuse message) arguments in
  let defines_f () =
    (* Evaluated silently: a name that is bound has a type. *)
    try execute (fun () -> phrase (fun f -> f)) Toploop.use_silently; true with Failed _ -> false in
  (* As when the toplevel starts on a file: no name of this script is visible. *)
  let forget () =
    Topdirs.dir_remove_directory "+compiler-libs";
    Toploop.initialize_toplevel_env () in

  let answer kind value_chars source inputs =
    let whole text = if characters text > value_chars then raise Too_long else text in
    try
      most_bytes := 4 * value_chars;
      let prepare () =
        Toploop.max_printer_depth := max_depth;
        Toploop.max_printer_steps := value_chars + 1;
        (Toploop.print_out_phrase := fun _ outcome ->
          match outcome with
          | Outcometree.Ophr_exception (problem, _) -> raised := Some problem
          | Ophr_eval (value, _) -> printed := Some value
          | Ophr_signature _ -> ());
        forget () in
      let values =
        match kind with
        | "value" -> List.map (fun input -> fst (fst (read input))) inputs
        | "arguments" -> List.map (fun input -> arguments_text (fst (read_arguments input))) inputs
        | "expressions" ->
          prepare ();
          List.map (fun input -> arguments_text (evaluate_arguments input)) inputs
        | _ ->
          let inputs = List.map (fun input -> snd (read_arguments input)) inputs in
          prepare ();
          load source;
          if not (defines_f ()) then fail "runtime_error" "missing_function" "the program defines no function f";
          List.map call inputs in
      let values = List.map whole values in
      "ok" :: "" :: "" :: values
    with
    | Not_a_value -> [ "forbidden"; "NotAValue"; "not a value: no literal, tuple, list, record or constructor" ]
    | Failed claim -> claim
    | Unserialisable what -> [ "unserialisable"; what; "the value can't be written down" ]
    | Too_long -> [ "output_limit"; ""; Printf.sprintf "the value has more than %d characters" value_chars ]
    | Out_of_memory -> [ "memory"; "Out_of_memory"; "" ] in
  let cut text count =
    let text = if characters text > count then escaped (String.sub text 0 (min count (String.length text))) else text in
    let rec valid at = at >= String.length text || (snd (decode text at) > 0 && valid (at + snd (decode text at))) in
    if valid 0 then text else escaped text in
  let line () = int_of_string (input_line stdin) in
  set_binary_mode_in stdin true;
  let count = line () in
  let fields = List.init count (fun _ -> let length = line () in really_input_string stdin length) in
  match fields with
  | kind :: value_chars :: message_chars :: _ :: source :: inputs ->
    let claim =
      match answer kind (int_of_string value_chars) source inputs with
      | "ok" :: _ as claim -> claim
      | claim -> List.map (fun text -> cut text (int_of_string message_chars)) claim in
    let reply = open_out_descriptor 3 in
    set_binary_mode_out reply true;
    Printf.fprintf reply "%d\n" (List.length claim);
    List.iter (fun text -> Printf.fprintf reply "%d\n%s" (String.length text) text) claim;
    flush reply;
    leave 0
  | _ -> leave 70
