import Testing
import ToolSupport

@Suite("Rates of counters")
struct CounterRatesTests {
  private let second: UInt64 = 1_000_000_000

  @Test("events per second since the last record")
  func rates() {
    var rates = CounterRates<String>()
    #expect(rates.record(["a": 100, "b": 5], at: 10 * second) == [:])
    #expect(rates.record(["a": 600, "b": 5], at: 10 * second + second / 2) == ["a": 1000, "b": 0])
    #expect(rates.record(["a": 606, "b": 7], at: 12 * second + second / 2) == ["a": 3, "b": 1])
  }

  @Test("a counter that is new, or smaller than before, has no rate")
  func newCounters() {
    var rates = CounterRates<String>()
    #expect(rates.record(["a": 100], at: second) == [:])
    #expect(rates.record(["a": 99, "b": 7], at: 2 * second) == [:])
    #expect(rates.record(["b": 8], at: 3 * second) == ["b": 1])
    #expect(rates.record(["a": 200, "b": 9], at: 4 * second) == ["b": 1])
  }

  @Test("no time, no rate")
  func noTime() {
    var rates = CounterRates<String>()
    #expect(rates.record(["a": 1], at: second) == [:])
    #expect(rates.record(["a": 2], at: second) == [:])
  }
}
