import NetmapCore
import Testing

@Suite("Counters of drops")
struct DropCounterTests {
  @Test("the text has the reasons that are not 0, in their order")
  func text() {
    var drops = DropCounters()
    #expect("\(drops)" == "none")
    drops[.badLength] = 1
    drops[.ringFull] = 3
    #expect("\(drops)" == "ring_full 3, bad_length 1")
    #expect(drops.total == 4)
  }
}
