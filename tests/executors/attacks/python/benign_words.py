def f(x):
    counts = {}
    for word in x.split():
        counts[word] = counts.get(word, 0) + 1
    return sorted(counts.items())
