<?php
// A program can't replace PHP's own functions, nor a class that exists before it. The global scope, where the program
// runs, has nothing else.
final class AzrRefused extends Exception
{
    public function __construct(public readonly array $claim)
    {
        parent::__construct();
    }
}

final class AzrHarness
{
    private const MAX_DEPTH = 100;
    private const UTF8 = '[\xC2-\xDF][\x80-\xBF]|\xE0[\xA0-\xBF][\x80-\xBF]|[\xE1-\xEC\xEE\xEF][\x80-\xBF]{2}'
        . '|\xED[\x80-\x9F][\x80-\xBF]|\xF0[\x90-\xBF][\x80-\xBF]{2}|[\xF1-\xF3][\x80-\xBF]{3}|\xF4[\x80-\x8F][\x80-\xBF]{2}';
    private const INVISIBLE = '/^(?:\xC2[\x80-\xA0\xAD]|\xE2\x80[\x8B-\x8F\xA8-\xAE]|\xE2\x81[\xA0-\xAF]|\xEF\xBB\xBF)$/';
    private const ESCAPES = ["\n" => '\n', "\t" => '\t', "\r" => '\r', '"' => '\"', '\\' => '\\\\', '$' => '\$'];
    private const CONSTANTS = ['true' => true, 'false' => false, 'null' => null, 'inf' => INF, 'nan' => NAN,
        'php_int_max' => PHP_INT_MAX, 'php_int_min' => PHP_INT_MIN, 'm_pi' => M_PI];
    private static int $left;
    private static string $text;
    private static int $at;
    private static int $valueChars;
    private static int $messageChars;
    private static ?array $lists = null;
    private static bool $isProgram;
    private static bool $running = false;

    // Values as text ----------------------------------------------------------------------------------------------------

    private static function refuse(string $what): never
    {
        throw new AzrRefused(['unserialisable', $what, "the value can't be written down"]);
    }

    private static function spend(string $text): string
    {
        self::$left -= strlen($text);
        if (self::$left < 0) {
            throw new AzrRefused(['output_limit', '', 'the value has more than ' . self::$valueChars . ' characters']);
        }
        return $text;
    }

    private static function stringText(string $string): string
    {
        self::spend(str_repeat(' ', min(strlen($string), self::$left + 1)));
        return '"' . preg_replace_callback(
            '/(' . self::UTF8 . ')|[^\x20-\x7E]|["\\\\$]/s',
            fn ($match) => self::ESCAPES[$match[0]] ?? (isset($match[1]) && !preg_match(self::INVISIBLE, $match[0])
                ? $match[0] : implode('', array_map(fn ($byte) => sprintf('\x%02x', ord($byte)), str_split($match[0])))),
            $string
        ) . '"';
    }

    private static function floatText(float $number): string
    {
        return is_nan($number) ? 'NAN' : (is_infinite($number) ? ($number > 0 ? 'INF' : '-INF') : var_export($number, true));
    }

    private static function emit(mixed $value, int $depth): string
    {
        if ($depth > self::MAX_DEPTH) {
            self::refuse('more than ' . self::MAX_DEPTH . ' levels');
        }
        if (is_string($value)) {
            return self::stringText($value);
        }
        if (is_array($value)) {
            $texts = [];
            $isList = array_is_list($value);
            foreach ($value as $key => $item) {
                $key = $isList ? '' : self::emit($key, $depth + 1) . ' => ';
                $texts[] = $key . self::emit($item, $depth + 1);
                self::spend(', ');
            }
            return '[' . implode(', ', $texts) . ']';
        }
        if (is_object($value) || is_resource($value) || gettype($value) === 'resource (closed)') {
            self::refuse(is_object($value) ? get_class($value) : 'a resource');
        }
        return self::spend(match (true) {
            $value === null => 'null',
            is_bool($value) => $value ? 'true' : 'false',
            is_int($value) => $value === PHP_INT_MIN ? 'PHP_INT_MIN' : (string) $value,
            default => self::floatText($value),
        });
    }

    private static function argumentsText(array $arguments): string
    {
        ini_set('serialize_precision', '-1');
        // An estimate in bytes, with separators; the end checks exactly.
        self::$left = 4 * self::$valueChars + 64;
        $texts = [];
        foreach ($arguments as $name => $value) {
            $texts[] = (is_string($name) ? "$name: " : '') . self::emit($value, 0);
        }
        $text = implode(', ', $texts);
        if (strlen(preg_replace('/[\x80-\xBF]/', '', $text)) > self::$valueChars) {
            self::$left = -1;
            self::spend('');
        }
        return $text;
    }

    // Values from text: only literals, nothing is run -------------------------------------------------------------------

    private static function noValue(): never
    {
        throw new AzrRefused(['forbidden', 'NotAValue', '']);
    }

    private static function take(string $pattern): ?array
    {
        if (!preg_match("~\\G(?:$pattern)~s", self::$text, $match, 0, self::$at)) {
            return null;
        }
        self::$at += strlen($match[0]);
        return $match;
    }

    private static function skip(): void
    {
        self::take('(?:\s+|//[^\n]*|\#(?!\[)[^\n]*|/\*.*?\*/)*');
    }

    private static function string(): string
    {
        if ($match = self::take("'((?:[^'\\\\]|\\\\.)*+)'")) {
            return preg_replace('/\\\\([\'\\\\])/', '$1', $match[1]);
        }
        $match = self::take('"((?:[^"\\\\$]|\\\\.|\$(?![A-Za-z_{\x80-\xFF]))*+)"') ?? self::noValue();
        if (preg_match('/(?<!\\\\)(?:\\\\\\\\)*\{\$/', $match[1])) {
            self::noValue();
        }
        return preg_replace_callback(
            '/\\\\(?:x([0-9A-Fa-f]{1,2})|u\{0*([0-9A-Fa-f]{1,6})\}|([0-7]{1,3})|(.))/s',
            fn ($match) => match (true) {
                isset($match[4]) => ['n' => "\n", 't' => "\t", 'r' => "\r", 'v' => "\v", 'e' => "\e", 'f' => "\f",
                    '"' => '"', '\\' => '\\', '$' => '$'][$match[4]] ?? $match[0],
                isset($match[3]) => chr(octdec($match[3]) & 0xFF),
                isset($match[2]) => self::character(hexdec($match[2])),
                default => chr(hexdec($match[1])),
            },
            $match[1]
        );
    }

    private static function character(int $code): string
    {
        $code <= 0x10FFFF || self::noValue();
        return match (true) {
            $code < 0x80 => chr($code),
            $code < 0x800 => chr(0xC0 | $code >> 6) . chr(0x80 | $code & 0x3F),
            $code < 0x10000 => chr(0xE0 | $code >> 12) . chr(0x80 | $code >> 6 & 0x3F) . chr(0x80 | $code & 0x3F),
            default => chr(0xF0 | $code >> 18) . chr(0x80 | $code >> 12 & 0x3F) . chr(0x80 | $code >> 6 & 0x3F)
                . chr(0x80 | $code & 0x3F),
        };
    }

    private static function number(string $word): int|float
    {
        $word = str_replace('_', '', $word);
        // As in PHP's parser: a number too large for an integer is a float.
        return match (true) {
            (bool) preg_match('/^0[xX]/', $word) => hexdec($word),
            (bool) preg_match('/^0[bB]/', $word) => bindec($word),
            (bool) preg_match('/^0[oO]?[0-7]+$/', $word) => octdec($word),
            default => $word + 0,
        };
    }

    private static function value(int $depth): mixed
    {
        $depth <= self::MAX_DEPTH + 2 || self::noValue();
        self::skip();
        if (self::take('(?=["\'])')) {
            return self::string();
        }
        if ($sign = self::take('[+-]')) {
            $value = self::value($depth + 1);
            is_int($value) || is_float($value) || self::noValue();
            return $sign[0] === '-' ? -$value : $value;
        }
        $number = '0[xX][0-9A-Fa-f_]+|0[bB][01_]+|0[oO][0-7_]+|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?';
        if ($match = self::take("($number)(?![\\w.])")) {
            return self::number($match[1]);
        }
        if (self::take('\[')) {
            return self::items(']', $depth + 1);
        }
        if (self::take('array\s*\(')) {
            return self::items(')', $depth + 1);
        }
        if (self::take('\(')) {
            $value = self::value($depth + 1);
            self::skip();
            self::take('\)') ?? self::noValue();
            return $value;
        }
        $name = strtolower((self::take('\\\\?([A-Za-z_]\w*)(?![\w(:])') ?? self::noValue())[1]);
        return array_key_exists($name, self::CONSTANTS) ? self::CONSTANTS[$name] : self::noValue();
    }

    private static function items(string $end, int $depth): array
    {
        $items = [];
        while (true) {
            self::skip();
            if (self::take("\\$end")) {
                return $items;
            }
            $value = self::value($depth);
            self::skip();
            if (self::take('=>')) {
                is_int($value) || is_string($value) || self::noValue();
                $items[$value] = self::value($depth);
                self::skip();
            } else {
                $items[] = $value;
            }
            if (!self::take(',')) {
                self::take("\\$end") ?? self::noValue();
                return $items;
            }
        }
    }

    private static function readArguments(string $text, bool $single): array
    {
        [self::$text, self::$at] = [$text, 0];
        $arguments = [];
        do {
            self::skip();
            if ($arguments && !$single && self::$at === strlen($text)) {
                return $arguments;
            }
            $name = $single ? null : self::take('([A-Za-z_]\w*)\s*:(?!:)');
            if ($name) {
                $arguments[$name[1]] = self::value(0);
            } else {
                $arguments && !array_is_list($arguments) && self::noValue();
                $arguments[] = self::value(0);
            }
            self::skip();
        } while (!$single && self::take(','));
        self::$at === strlen($text) || self::noValue();
        return $arguments;
    }

    // The arguments, any expressions, evaluated without a program.
    private static function evaluateArguments(string $text): array
    {
        eval('function f() { throw new Error("an input can\'t call f: it is evaluated before and without the program"); }');
        eval('function azr_arguments(...$given) { return $given; }');
        if (!self::isBalanced($text)) {
            throw new AzrRefused(['forbidden', 'NotAValue', 'no argument list: its parentheses are not balanced']);
        }
        try {
            $given = eval("return azr_arguments($text\n);");
        } catch (Throwable $error) {
            throw new AzrRefused(['forbidden', get_class($error), "the input can't be evaluated: {$error->getMessage()}"]);
        }
        if (!$given) {
            throw new AzrRefused(['forbidden', 'NotAValue', 'no argument list: f needs an argument']);
        }
        return $given;
    }

    // A text such as "1) ?: (2" would pass for an argument list.
    private static function isBalanced(string $text): bool
    {
        $quoted = '"(?:[^"\\\\]|\\\\.)*+"|\'(?:[^\'\\\\]|\\\\.)*+\'|#[^\n]*|//[^\n]*|/\*.*?\*/';
        $depth = 0;
        foreach (str_split(preg_replace(["~$quoted~s", '~[^()\[\]{}]~'], '', $text)) as $bracket) {
            $depth += str_contains('([{', $bracket) ? 1 : -1;
            if ($bracket !== '' && $depth < 0) {
                return false;
            }
        }
        return true;
    }

    // Requests ----------------------------------------------------------------------------------------------------------

    private static function clean(string $text): string
    {
        $text = substr($text, 0, 4 * self::$messageChars);
        $text = preg_replace_callback('/(' . self::UTF8 . ')|[^\x00-\x7F]/s', fn ($match) => $match[1] ?? '?', $text);
        preg_match_all('/[^\x80-\xBF][\x80-\xBF]*/', $text, $characters);
        return implode('', array_slice($characters[0], 0, self::$messageChars));
    }

    public static function claimOf(Throwable $error): array
    {
        if ($error instanceof AzrRefused) {
            return $error->claim;
        }
        if ($error instanceof CompileError && self::isOfProgram($error->getFile())) {
            return ['syntax_error', 'syntax', $error->getMessage()];
        }
        return ['runtime_error', get_class($error), $error->getMessage()];
    }

    // Whether the program's text does not compile, rather than a text that the program evaluates.
    private static function isOfProgram(string $file): bool
    {
        return !self::$running && substr_count($file, "eval()'d code") === 1;
    }

    public static function finish(array $claim): never
    {
        if ($claim[0] !== 'ok') {
            $claim = array_map(self::clean(...), $claim);
        }
        $frame = count($claim) . "\n";
        foreach ($claim as $field) {
            $frame .= strlen($field) . "\n" . $field;
        }
        $reply = fopen('php://fd/3', 'wb');
        while ($reply && strlen($frame) > 0 && ($count = fwrite($reply, $frame)) > 0) {
            $frame = substr($frame, $count);
        }
        // Nothing of the program runs at its end.
        if (function_exists('posix_kill')) {
            posix_kill(getmypid(), 9);
        }
        exit(0);
    }

    /** Reports, when PHP ends, errors that nothing can catch. */
    public static function atEnd(): void
    {
        $error = error_get_last();
        $type = $error['type'] ?? 0;
        if (!($type & (E_ERROR | E_COMPILE_ERROR | E_CORE_ERROR | E_PARSE))) {
            return;
        }
        ini_set('memory_limit', '-1');
        $message = $error['message'];
        if (preg_match('/^(?:Out of memory|Allowed memory size)/', $message)) {
            self::finish(['memory', '', '']);
        }
        $isSyntax = $type !== E_ERROR && self::isOfProgram($error['file']);
        self::finish([$isSyntax ? 'syntax_error' : 'runtime_error', $isSyntax ? 'syntax' : 'fatal', $message]);
    }

    /** The code of the program, or none. */
    public static function begin(): string
    {
        $data = stream_get_contents(STDIN);
        $at = 0;
        $line = function () use ($data, &$at): int {
            $end = strpos($data, "\n", $at);
            $number = (int) substr($data, $at, $end - $at);
            $at = $end + 1;
            return $number;
        };
        $fields = [];
        for ($count = $line(); $count > 0; $count--) {
            $length = $line();
            $fields[] = substr($data, $at, $length);
            $at += $length;
        }
        [$kind, $valueChars, $messageChars, , $source] = $fields;
        [self::$valueChars, self::$messageChars] = [(int) $valueChars, (int) $messageChars];
        self::$isProgram = $kind === 'evaluate';
        self::boundMemory();
        register_shutdown_function(self::atEnd(...));
        self::$lists = [];
        foreach (array_slice($fields, 5) as $number => $text) {
            try {
                self::$lists[] = $kind === 'expressions' ? self::evaluateArguments($text)
                    : self::readArguments($text, $kind === 'value');
            } catch (AzrRefused $refused) {
                $told = $refused->claim[2] ?: "not a value: input $number is no literal";
                self::finish([$refused->claim[0], $refused->claim[1], $told]);
            }
        }
        return self::$isProgram ? self::code($source) : '';
    }

    // A fatal error of PHP itself; memory is left to report it.
    private static function boundMemory(): void
    {
        preg_match('/Max address space\s+(\d+)/', (string) @file_get_contents('/proc/self/limits'), $limit);
        preg_match('/VmSize:\s+(\d+)/', (string) @file_get_contents('/proc/self/status'), $used);
        if ($limit && $used) {
            ini_set('memory_limit', (string) max(8 << 20, $limit[1] - 1024 * $used[1] - (4 << 20)));
        }
    }

    // As eval reads it. A text without any tag is read as code: a model may leave the tag out.
    private static function code(string $source): string
    {
        $source = preg_replace('/^(?:\xEF\xBB\xBF)?(?:#![^\n]*\n)?/', '', $source);
        if (preg_match('/^\s*<\?php(?=\s)/', $source, $match)) {
            return substr($source, strlen($match[0]));
        }
        return preg_match('/<\?(?:php|=)/', $source) ? "?>$source" : $source;
    }

    /** f's values for the inputs, after the program. */
    public static function answer(): never
    {
        self::$running = true;
        if (self::$isProgram && !function_exists('f')) {
            self::finish(['runtime_error', 'missing_function', 'the program defines no function f']);
        }
        $claim = ['ok', '', ''];
        foreach (self::$lists as $arguments) {
            $claim[] = self::argumentsText(self::$isProgram ? [f(...$arguments)] : $arguments);
        }
        self::finish($claim);
    }
}

try {
    eval(AzrHarness::begin());
    AzrHarness::answer();
} catch (Throwable $azr_error) {
    AzrHarness::finish(AzrHarness::claimOf($azr_error));
}
