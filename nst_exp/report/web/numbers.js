// Numbers in texts, mean and standard deviation, averages of curves.

const isNumber = (text) => /^[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf)$/i.test(text.trim());
const toNumber = (text) => Number(text.trim().replace(/inf$/i, "Infinity"));
const known = (value) => value !== undefined && value !== null && value !== "";

// The number that a value is; null for other texts.
function numberIn(value) {
  if (typeof value === "number") return value;
  return known(value) && isNumber(value) ? toNumber(value) : null;
}

// The standard deviation of a sample (divided by n - 1), null for a single value.
function meanAndDeviation(values) {
  const count = values.length;
  if (!count) return { mean: null, deviation: null, count };
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: count > 1 ? Math.sqrt(squares / (count - 1)) : null, count };
}

// The two extremes: Math.min(...values) fails on very long lists.
function bounds(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
  return [low, high];
}

// Mean and deviation of curves, lists of [x, y], wherever all of them have values; a curve without
// a point at some x is interpolated there.
function averageCurves(curves) {
  const first = Math.max(...curves.map((curve) => curve[0][0]));
  const last = Math.min(...curves.map((curve) => curve.at(-1)[0]));
  const every = new Set(curves.flatMap((curve) => curve.map(([x]) => x)));
  const shared = [...every].filter((x) => x >= first && x <= last).sort((a, b) => a - b);
  const columns = curves.map((curve) => {
    let n = 0;
    return shared.map((x) => {
      while (n < curve.length - 1 && curve[n + 1][0] <= x) n++;
      const [[x0, y0], [x1, y1]] = [curve[n], curve[n + 1] || curve[n]];
      return x === x0 ? y0 : y0 + ((y1 - y0) * (x - x0)) / (x1 - x0);
    });
  });
  return shared.map((x, n) => {
    const { mean, deviation } = meanAndDeviation(columns.map((column) => column[n]));
    return [x, mean, deviation ?? 0];
  });
}

// A filter as a function of a value: "5", "<= 5", "0.5..50" for numbers, else a part of the text,
// or after "=" the whole text.
function makeFilter(text) {
  const wanted = text.trim();
  const range = wanted.match(/^(\S*?)\s*\.\.\s*(\S*)$/);
  if (range && range.slice(1).every((end) => !end || isNumber(end))) {
    const low = range[1] ? toNumber(range[1]) : -Infinity, high = range[2] ? toNumber(range[2]) : Infinity;
    return (value) => numberIn(value) !== null && numberIn(value) >= low && numberIn(value) <= high;
  }
  const [, sign, end] = wanted.match(/^([<>]?=?)\s*(.*)$/);
  if (end === "") return () => true; // not typed yet
  if (isNumber(end)) {
    const limit = toNumber(end);
    const tests = { "<": (n) => n < limit, "<=": (n) => n <= limit, ">": (n) => n > limit, ">=": (n) => n >= limit };
    const test = tests[sign] || ((n) => n === limit);
    return (value) => numberIn(value) !== null && test(numberIn(value));
  }
  const lower = (sign === "=" ? end : wanted).toLowerCase();
  if (sign === "=") return (value) => String(value ?? "").toLowerCase() === lower;
  return (value) => String(value ?? "").toLowerCase().includes(lower);
}

// Numbers before texts; unknown values come last in both directions.
function compareValues(one, other, sign) {
  if (!known(one) || !known(other)) return known(other) - known(one);
  const [a, b] = [numberIn(one), numberIn(other)];
  if (a !== null && b !== null) return sign * (a - b || 0);
  if ((a === null) !== (b === null)) return sign * (a !== null ? -1 : 1);
  return sign * String(one).localeCompare(String(other), "en");
}
