import NetmapCore
import Synchronization
import Testing

@Suite("Numbers of private regions")
struct RegionNumbersTests {
  @Test("without blocks they go up from 2, and begin again there")
  func ownNumbers() {
    var numbers = RegionNumbers()
    for expected in 2...UInt16.max { #expect(numbers.next() == expected) }
    #expect(numbers.next() == 2)
  }

  @Test("each number is in the block that was taken last, and 0 and 1 are in none")
  func blocks() {
    let taken = Atomic<Int>(0)
    let blocks: [UInt16] = [7, RegionNumbers.blockCount - 1, 0, 3]
    nonisolated(unsafe) let counter = unsafe withUnsafePointer(to: taken) { unsafe $0 }
    var numbers = RegionNumbers {
      unsafe blocks[counter.pointee.wrappingAdd(1, ordering: .relaxed).oldValue]
    }
    for block in blocks {
      for place in 0..<RegionNumbers.blockSize {
        let number = numbers.next()
        #expect(number == 2 + block * RegionNumbers.blockSize + place)
        #expect(number > 1)
      }
    }
    #expect(taken.load(ordering: .relaxed) == blocks.count)
  }

  @Test("where no block can be taken, they go on from the last")
  func withoutBlock() {
    var numbers = RegionNumbers { nil }
    for expected in 2..<100 as Range<UInt16> { #expect(numbers.next() == expected) }
  }

  @Test("an engine skips numbers in use when a block comes again")
  func inUse() throws {
    let engine = try Engine(regionBlocks: { 5 })
    let first = try (0..<10).map { try TestPort(engine, "a\($0){1", hints: .slots(4)) }
    let kept = first[3]
    for port in first where port !== kept { port.close() }
    // The block is used up and comes again.
    let later = try (0..<15).map { try TestPort(engine, "b\($0){1", hints: .slots(4)) }
    let numbers = (later + [kept]).map(\.registration.memoryID)
    #expect(Set(numbers).count == 16)
    #expect(numbers.allSatisfy { (82..<98).contains($0) })
    let error = #expect(throws: NetmapError.self) { try TestPort(engine, "c{1") }
    #expect(error?.code == .outOfMemory)
  }
}
