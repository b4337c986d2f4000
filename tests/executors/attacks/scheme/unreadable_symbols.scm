(define (f x) (map string->symbol '("" "a b" "1" "#f" "'" "(" "|" "a\nb" "#{" "}#" "." "\\")))
