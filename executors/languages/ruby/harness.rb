# frozen_string_literal: true
require 'set'

# Every Ruby method that is used after a program has run is bound here before: methods and operators that programs
# redefine are never called. The module and all its contents are frozen.
module AzrHarness
  MAX_DEPTH = 100
  UNSERIALISABLE = Class.new(Exception)
  TOO_LONG = Class.new(Exception)
  NOT_A_VALUE = Class.new(Exception)

  SAME = BasicObject.instance_method(:equal?)
  CLASS = Kernel.instance_method(:class)
  METHOD = Kernel.instance_method(:method)
  RAISE = Kernel.instance_method(:raise)
  EXIT = Process.method(:exit!).unbind
  CALL = Method.instance_method(:call)
  IS_A = Kernel.instance_method(:is_a?)
  IVAR_GET = Kernel.instance_method(:instance_variable_get)
  NAME = Module.instance_method(:name)
  STATUS = SystemExit.instance_method(:status)
  INTEGER_TEXT, FLOAT_TEXT = [Integer, Float].map { |type| type.instance_method(:to_s) }
  ADD, MORE, BITS = %i[+ > bit_length].map { |name| Integer.instance_method(name) }
  STRING_INSPECT, ENCODING, ASCII, SIZE, CONCAT, FORCE, SCRUB, SLICE, DUP, BYTES = %i[
    inspect encoding ascii_only? length << force_encoding scrub [] +@ bytesize
  ].map { |name| String.instance_method(name) }
  SYMBOL_INSPECT, SYMBOL_ENCODING = %i[inspect encoding].map { |name| Symbol.instance_method(name) }
  ARRAY_EACH, ARRAY_SORT, PUSH = %i[each sort push].map { |name| Array.instance_method(name) }
  HASH_EACH, BY_IDENTITY, DEFAULT, DEFAULT_PROC, FETCH = %i[
    each_pair compare_by_identity? default default_proc []
  ].map { |name| Hash.instance_method(name) }
  FIRST, LAST, OPEN_END = %i[begin end exclude_end?].map { |name| Range.instance_method(name) }
  UPPER, LOWER = %i[numerator denominator].map { |name| Rational.instance_method(name) }
  REAL, IMAGINARY = %i[real imaginary].map { |name| Complex.instance_method(name) }
  WRITE, FLUSH = %i[write flush].map { |name| IO.instance_method(name) }
  SET_EXTERNAL, SET_INTERNAL = %i[default_external= default_internal=].map { |name| Encoding.method(name).unbind }
  PARSE = RubyVM::AbstractSyntaxTree.method(:parse).unbind
  COMPILE = RubyVM::InstructionSequence.method(:compile).unbind
  RUN = RubyVM::InstructionSequence.instance_method(:eval)
  TREE, COMPILED = RubyVM::AbstractSyntaxTree, RubyVM::InstructionSequence
  ENCODINGS, MAIN = Encoding, TOPLEVEL_BINDING.receiver
  UTF_8, US_ASCII, BINARY = Encoding::UTF_8, Encoding::US_ASCII, Encoding::BINARY
  EXCEPTION, EXITED, NO_MEMORY, TOO_DEEP, NO_NAME = Exception, SystemExit, NoMemoryError, SystemStackError, NameError
  NO_SYNTAX = SyntaxError
  FLOAT_NAMES = {
    'Infinity' => 'Float::INFINITY', '-Infinity' => '-Float::INFINITY', 'NaN' => 'Float::NAN'
  }.freeze
  FLOATS = %i[INFINITY NAN MAX MIN EPSILON].freeze
  KINDS = {
    NilClass => :nil, TrueClass => :true, FalseClass => :false, Integer => :integer, Float => :float,
    String => :string, Symbol => :symbol, Array => :array, Hash => :hash, Set => :set, Range => :range,
    Rational => :rational, Complex => :complex
  }.compare_by_identity.freeze
  REPLY = IO.for_fd(3, 'wb', autoclose: false)

  class << self
    # Values as text -----------------------------------------------------------------------------------------------

    def refuse(what)
      RAISE.bind_call(self, UNSERIALISABLE, what)
    end

    def same(one, other)
      SAME.bind_call(one, other)
    end

    def put(out, text, max)
      CONCAT.bind_call(out, text)
      RAISE.bind_call(self, TOO_LONG) if MORE.bind_call(SIZE.bind_call(out), max)
    end

    # Appends a value's text to `out`; the entries of hashes and sets are sorted if `sorted`, else in their order.
    def emit(value, out, max, sorted, depth)
      refuse("more than #{MAX_DEPTH} levels") if MORE.bind_call(depth, MAX_DEPTH)
      type = CLASS.bind_call(value)
      kind = FETCH.bind_call(KINDS, type)
      below = ADD.bind_call(depth, 1)
      if same(kind, :nil) then put(out, 'nil', max)
      elsif same(kind, :true) then put(out, 'true', max)
      elsif same(kind, :false) then put(out, 'false', max)
      elsif same(kind, :integer)
        RAISE.bind_call(self, TOO_LONG) if MORE.bind_call(BITS.bind_call(value), 1_000_000)
        put(out, INTEGER_TEXT.bind_call(value), max)
      elsif same(kind, :float)
        text = FLOAT_TEXT.bind_call(value)
        put(out, FETCH.bind_call(FLOAT_NAMES, text) || text, max)
      elsif same(kind, :string) then emit_string(value, out, max)
      elsif same(kind, :symbol)
        encoding = SYMBOL_ENCODING.bind_call(value)
        refuse('a symbol that is not UTF-8') unless same(encoding, UTF_8) || same(encoding, US_ASCII)
        put(out, SYMBOL_INSPECT.bind_call(value), max)
      elsif same(kind, :array) then emit_items(value, out, max, sorted, below)
      elsif same(kind, :hash) then emit_hash(value, out, max, sorted, below)
      elsif same(kind, :set)
        put(out, 'Set', max)
        items = []
        HASH_EACH.bind_call(IVAR_GET.bind_call(value, :@hash)) { |item, _| PUSH.bind_call(items, piece(item, max, sorted, below)) }
        emit_pieces(items, '[', ']', out, max, sorted)
      elsif same(kind, :range)
        put(out, '(', max)
        emit_end(FIRST.bind_call(value), out, max, below)
        put(out, OPEN_END.bind_call(value) ? '...' : '..', max)
        emit_end(LAST.bind_call(value), out, max, below)
        put(out, ')', max)
      elsif same(kind, :rational)
        emit_numbers('Rational', UPPER.bind_call(value), LOWER.bind_call(value), out, max, below)
      elsif same(kind, :complex)
        emit_numbers('Complex', REAL.bind_call(value), IMAGINARY.bind_call(value), out, max, below)
      else refuse(type_name(type))
      end
    end

    def emit_string(value, out, max)
      encoding = ENCODING.bind_call(value)
      RAISE.bind_call(self, TOO_LONG) if MORE.bind_call(SIZE.bind_call(value), max)
      if ASCII.bind_call(value) || same(encoding, UTF_8) || same(encoding, BINARY)
        put(out, STRING_INSPECT.bind_call(value), max)
        put(out, '.b', max) if same(encoding, BINARY) && !ASCII.bind_call(value)
      else refuse('a string that is not UTF-8')
      end
    end

    def emit_items(items, out, max, sorted, below)
      put(out, '[', max)
      between = ''
      ARRAY_EACH.bind_call(items) do |item|
        put(out, between, max)
        between = ', '
        emit(item, out, max, sorted, below)
      end
      put(out, ']', max)
    end

    def piece(value, max, sorted, depth)
      text = DUP.bind_call('')
      emit(value, text, max, sorted, depth)
      text
    end

    def emit_pieces(pieces, open, close, out, max, sorted)
      pieces = ARRAY_SORT.bind_call(pieces) if sorted
      put(out, open, max)
      between = ''
      ARRAY_EACH.bind_call(pieces) do |text|
        put(out, between, max)
        between = ', '
        put(out, text, max)
      end
      put(out, close, max)
    end

    def emit_hash(value, out, max, sorted, below)
      refuse('a hash that compares by identity') if BY_IDENTITY.bind_call(value)
      # A program can see an input's default; in a result only the entries count, as for ==.
      unless sorted || (same(DEFAULT_PROC.bind_call(value), nil) && same(DEFAULT.bind_call(value), nil))
        refuse('a hash with a default')
      end
      pieces = []
      HASH_EACH.bind_call(value) do |key, item|
        pair = piece(key, max, sorted, below)
        put(pair, ' => ', max)
        emit(item, pair, max, sorted, below)
        PUSH.bind_call(pieces, pair)
      end
      emit_pieces(pieces, '{', '}', out, max, sorted)
    end

    def emit_end(value, out, max, depth)
      kind = FETCH.bind_call(KINDS, CLASS.bind_call(value))
      if same(kind, :integer) || same(kind, :float) || same(kind, :string)
        emit(value, out, max, true, depth)
      elsif !same(value, nil) then refuse('a range of other things than numbers and strings')
      end
    end

    def emit_numbers(name, first, second, out, max, depth)
      put(out, "#{name}(", max)
      emit(first, out, max, true, depth)
      put(out, ', ', max)
      emit(second, out, max, true, depth)
      put(out, ')', max)
    end

    def type_name(type)
      name = NAME.bind_call(type)
      same(name, nil) ? 'an object of a class without a name' : name
    end

    # The text of a value, or of an argument list, whose order of entries a program sees.
    def arguments_text(positional, named, max, sorted)
      out = DUP.bind_call('')
      between = ''
      ARRAY_EACH.bind_call(positional) do |item|
        put(out, between, max)
        between = ', '
        emit(item, out, max, sorted, 0)
      end
      HASH_EACH.bind_call(named) do |key, item|
        put(out, between, max)
        between = ', '
        emit(key, out, max, sorted, 0)
        put(out, ' => ', max)
        emit(item, out, max, sorted, 0)
      end
      out
    end

    # Values from text: Ruby's parser, only literals in its tree are accepted; nothing is run ---------------------------

    def no_value
      raise NOT_A_VALUE
    end

    # The arguments of the one call of f that the text makes.
    def call_of(text)
      root = PARSE.bind_call(TREE, "f(#{text}\n)").children.last
      no_value unless root && root.type == :FCALL && root.children.first == :f
      root.children.last
    rescue NO_SYNTAX, ArgumentError
      no_value
    end

    def read_arguments(text)
      list = call_of(text)
      no_value unless list && list.type == :LIST
      nodes = list.children[0...-1]
      named = nodes.last && braceless?(nodes.last) ? build(nodes.pop, 0) : {}
      [nodes.map { |node| build(node, 0) }, named]
    end

    # In a hash with braces the first key begins after the brace.
    def braceless?(node)
      inner = node.type == :HASH && node.children.first
      inner && [inner.first_lineno, inner.first_column] == [node.first_lineno, node.first_column]
    end

    def build(node, depth)
      no_value if node.nil? || depth > MAX_DEPTH + 2
      below = depth + 1
      first, second, third = node.children
      case node.type
      when :NIL then nil
      when :TRUE then true
      when :FALSE then false
      when :STR then first.dup
      when :ZLIST then []
      when :LIST then node.children[0...-1].map { |child| build(child, below) }
      when :LIT, :SYM, :INTEGER, :FLOAT, :RATIONAL, :IMAGINARY
        # A string here is the key of a hash.
        %i[integer float symbol rational complex string].include?(KINDS[first.class]) ? first : no_value
      when :HASH then first ? Hash[*build(first, below)] : {}
      when :DOT2, :DOT3
        ends = [first, second].map { |child| child.nil? ? nil : build(child, below) }
        Range.new(*ends, node.type == :DOT3)
      when :COLON2
        no_value unless first.type == :CONST && first.children == [:Float] && FLOATS.include?(second)
        Float.const_get(second)
      when :OPCALL
        value = build(first, below)
        no_value unless second == :-@ && third.nil? && value.is_a?(Numeric)
        -value
      when :CALL
        if second == :b && third.nil? && first.type == :STR then first.children.first.b
        elsif second == :[] && first.type == :CONST && first.children == [:Set]
          Set.new(third.nil? ? [] : build(third, below))
        else no_value
        end
      when :FCALL
        no_value unless %i[Rational Complex].include?(first) && second && second.type == :LIST
        send(first, *build(second, below))
      else no_value
      end
    rescue ArgumentError, TypeError, ZeroDivisionError
      no_value
    end

    # The arguments, any expressions, evaluated without a program.
    def evaluate_arguments(text)
      list = call_of(text)
      no_value if list.nil? || list.type == :BLOCK_PASS
      MAIN.define_singleton_method(:f) { |*| raise 'an input can\'t call f: it is evaluated before and without the program' }
      MAIN.define_singleton_method(:azr_arguments) { |*positional, **named| [positional, named] }
      eval("azr_arguments(#{text}\n)", TOPLEVEL_BINDING, 'input')
    end

    # Requests ----------------------------------------------------------------------------------------------------------

    def clean(text, max)
      return '' unless same(CLASS.bind_call(text), String)
      SLICE.bind_call(SCRUB.bind_call(FORCE.bind_call(DUP.bind_call("#{text}"), UTF_8), '?'), 0, max)
    end

    def failure(error, max)
      type = CLASS.bind_call(error)
      return ['memory', '', ''] if same(type, NO_MEMORY)
      return ['runtime_error', 'stack_overflow', 'stack level too deep'] if same(type, TOO_DEEP)
      message = ''
      begin
        message = error.message
      rescue EXCEPTION
        # The program may define this method.
      end
      ['runtime_error', clean(type_name(type), max), clean(message, max)]
    end

    def guarded(max, max_chars)
      yield
    rescue NOT_A_VALUE
      raise
    rescue UNSERIALISABLE => refused
      ['unserialisable', clean(refused.message, max), "the value can't be written down"]
    rescue TOO_LONG
      ['output_limit', '', "the value has more than #{max_chars} characters"]
    rescue EXCEPTION => error
      EXIT.bind_call(Process, STATUS.bind_call(error)) if IS_A.bind_call(error, EXITED)
      failure(error, max)
    end

    def read_inputs(kind, max, max_chars, inputs)
      inputs.map.with_index do |text, index|
        if kind == 'expressions'
          result = guarded(max, max_chars) { [true, evaluate_arguments(text)] }
          unless result[0] == true
            return result if result[0] == 'memory'
            return ['forbidden', result[1], "the input can't be evaluated: #{result[2]}"[0, max]]
          end
          positional, named = result[1]
          return ['forbidden', 'NotAValue', 'no argument list: f needs an argument'] if positional.empty? && named.empty?
        else
          positional, named = read_arguments(text)
          no_value if kind == 'value' && (positional.length != 1 || !named.empty?)
        end
        [positional, named]
      rescue NOT_A_VALUE
        return ['forbidden', 'NotAValue', "not a value: input #{index} is no literal"]
      end
    end

    # The program's method f, or the claim that there is none.
    def load_program(source, max)
      begin
        program = COMPILE.bind_call(COMPILED, source, 'program.rb', 'program.rb')
      rescue NO_SYNTAX => error
        return ['syntax_error', 'syntax', clean(error.message, max)]
      end
      RUN.bind_call(program)
      begin
        METHOD.bind_call(MAIN, :f)
      rescue NO_NAME
        ['runtime_error', 'missing_function', 'the program defines no method f']
      end
    end

    def answer(kind, max_chars, max, source, inputs)
      lists = read_inputs(kind, max, max_chars, inputs)
      return lists if same(CLASS.bind_call(lists[0]), String)
      claim = ['ok', '', '']
      sorted = kind == 'value' || kind == 'evaluate'
      guarded(max, max_chars) do
        if kind == 'evaluate'
          f = load_program(source, max)
          next f if same(CLASS.bind_call(f), Array)
        end
        ARRAY_EACH.bind_call(lists) do |positional, named|
          if f
            positional, named = [CALL.bind_call(f, *positional, **named)], {}
            SET_INTERNAL.bind_call(ENCODINGS, nil)
            SET_EXTERNAL.bind_call(ENCODINGS, UTF_8)
          end
          PUSH.bind_call(claim, arguments_text(positional, named, max_chars, sorted))
        end
        claim
      end
    end

    def read_fields(data)
      at = 0
      line = lambda do
        stop = data.index("\n", at)
        number = data[at...stop].to_i
        at = stop + 1
        number
      end
      Array.new(line.call) do
        length = line.call
        at += length
        data[at - length, length].force_encoding(UTF_8)
      end
    end

    def main
      kind, max_chars, max, _, source, *inputs = read_fields(STDIN.read.b)
      $0 = 'program.rb'
      $VERBOSE = nil
      claim = answer(kind, max_chars.to_i, max.to_i, source.delete_prefix("\uFEFF"), inputs)
      reply = DUP.bind_call("#{INTEGER_TEXT.bind_call(SIZE_OF.bind_call(claim))}\n")
      ARRAY_EACH.bind_call(claim) do |field|
        CONCAT.bind_call(reply, "#{INTEGER_TEXT.bind_call(BYTES.bind_call(field))}\n#{field}")
      end
      WRITE.bind_call(REPLY, reply)
      FLUSH.bind_call(REPLY)
      EXIT.bind_call(Process, 0)
    end
  end

  SIZE_OF = Array.instance_method(:length)
  constants.map { |name| const_get(name) }.grep(UnboundMethod).each(&:freeze)
  [UnboundMethod, Method].each(&:freeze)
  singleton_class.freeze
  freeze
end

AzrHarness.main
