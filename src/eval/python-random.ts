/**
 * Python's `random.Random`, as far as benchmarks use it to choose few-shot examples: the same seed gives the same examples as the
 * reference harness. Mersenne Twister MT19937 (Matsumoto and Nishimura 1998), seeded as CPython seeds it from an integer.
 */

const N = 624;
const M = 397;

/** One generator; its draws depend on all draws before them. */
export class PythonRandom {
  readonly #state: Uint32Array = new Uint32Array(N);
  #index: number = N;

  /** @param seed a non-negative safe integer; CPython's `Random(seed)`. */
  constructor(seed: number) {
    const key = seed > 0xffffffff ? [seed >>> 0, Math.floor(seed / 2 ** 32)] : [seed];
    this.#initByArray(key);
  }

  /** The next 32 random bits. */
  nextUint32(): number {
    if (this.#index >= N) this.#refill();
    let y = this.#state[this.#index++]!;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    y ^= y >>> 18;
    return y >>> 0;
  }

  /** A float in [0, 1) with 53 bits; CPython's `random()`. */
  random(): number {
    const high = this.nextUint32() >>> 5;
    const low = this.nextUint32() >>> 6;
    return (high * 67108864 + low) / 9007199254740992;
  }

  /** An integer in [0, n), n below 2^32: as many top bits as n has, drawn again until below n. */
  below(n: number): number {
    const shift = Math.clz32(n);
    let draw: number;
    do draw = this.nextUint32() >>> shift;
    while (draw >= n);
    return draw;
  }

  /** `sample(range(n), k)`: k different integers in [0, n), in the order drawn. */
  sample(n: number, k: number): number[] {
    return n <= sampleSetSize(k) ? this.#sampleFromPool(n, k) : this.#sampleBySet(n, k);
  }

  #sampleFromPool(n: number, k: number): number[] {
    const pool = Array.from({ length: n }, (_, i) => i);
    return Array.from({ length: k }, (_, i) => {
      const j = this.below(n - i);
      const drawn = pool[j]!;
      pool[j] = pool[n - i - 1]!;
      return drawn;
    });
  }

  #sampleBySet(n: number, k: number): number[] {
    const drawn = new Set<number>();
    while (drawn.size < k) drawn.add(this.below(n));
    return [...drawn];
  }

  #initByArray(key: number[]): void {
    const state = this.#state;
    state[0] = 19650218;
    for (let i = 1; i < N; i++) state[i] = Math.imul(1812433253, mix(state[i - 1]!)) + i;
    let i = 1;
    const advance = (): void => {
      if (++i < N) return;
      state[0] = state[N - 1]!;
      i = 1;
    };
    for (let step = 0; step < Math.max(N, key.length); step++) {
      const j = step % key.length;
      state[i] = (state[i]! ^ Math.imul(mix(state[i - 1]!), 1664525)) + key[j]! + j;
      advance();
    }
    for (let step = 1; step < N; step++) {
      state[i] = (state[i]! ^ Math.imul(mix(state[i - 1]!), 1566083941)) - i;
      advance();
    }
    state[0] = 0x80000000;
  }

  #refill(): void {
    const state = this.#state;
    for (let i = 0; i < N; i++) {
      const y = (state[i]! & 0x80000000) | (state[(i + 1) % N]! & 0x7fffffff);
      state[i] = state[(i + M) % N]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.#index = 0;
  }
}

function mix(word: number): number {
  return word ^ (word >>> 30);
}

/** CPython copies the population where that is smaller than a set of the drawn: up to this size. */
function sampleSetSize(k: number): number {
  return k > 5 ? 21 + 4 ** Math.ceil(Math.log(k * 3) / Math.log(4)) : 21;
}
