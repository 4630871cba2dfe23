import NetmapCore
import Testing

@Suite("Wait words")
struct WaitWordTests {
  @Test("no wake-up is lost in any order of the accesses of two sleepers and a waker")
  func twoSleepers() {
    let model = WaitModel(sleepers: 2, wakers: 1, packets: 2, listCount: 2)
    let result = model.explore()
    #expect(result.lost == nil)
    #expect(result.states > 10_000)
  }

  @Test("nor when sleepers withdraw their announcements")
  func disarming() {
    #expect(
      WaitModel(sleepers: 2, wakers: 1, packets: 2, listCount: 2, disarms: true).explore().lost
        == nil)
  }

  @Test("nor with three sleepers")
  func threeSleepers() {
    #expect(WaitModel(sleepers: 3, wakers: 1, packets: 1, listCount: 3).explore().lost == nil)
  }

  @Test("nor with two wakers")
  func twoWakers() {
    #expect(WaitModel(sleepers: 2, wakers: 2, packets: 1, listCount: 2).explore().lost == nil)
  }

  @Test("nor with a full list: sleepers that are not sure to be woken sleep briefly")
  func fullList() {
    #expect(WaitModel(sleepers: 3, wakers: 1, packets: 1, listCount: 1).explore().lost == nil)
  }

  @Test("the model finds the lost wake-up of the former order, which lists after marking")
  func modelFindsFault() throws {
    let model = WaitModel(sleepers: 2, wakers: 1, packets: 2, listCount: 2, isFormer: true)
    let lost = try #require(model.explore().lost)
    #expect(!lost.isEmpty)
  }

  @Test(
    "a peer that keeps changing the word delays a sleeper by a bounded number of accesses")
  func wordThatChanges() {
    let cells = ChangingCells()
    #expect(!cells.arm(7))
    #expect(cells.accesses < 1000)
  }

  /// A wait word that another process changes before each access.
  private final class ChangingCells: WaitCells {
    var accesses = 0
    var list = [UInt32](repeating: 0, count: 64)
    var listCount: Int { 64 }

    func compareExchange(
      _ cell: Int, expected: UInt32, desired: UInt32
    ) -> (exchanged: Bool, original: UInt32) {
      accesses += 1
      // Too many accesses: let the sleeper end, and the test fail.
      guard accesses < 10_000 else { return (true, expected) }
      guard cell > 0 else { return (false, 5 &+ UInt32(accesses % 2)) }
      let original = list[cell - 1]
      if original == expected { list[cell - 1] = desired }
      return (original == expected, original)
    }

    func exchange(_ cell: Int, _ value: UInt32) -> UInt32 {
      accesses += 1
      return accesses < 10_000 ? 5 : 0
    }
  }
}
