import CNetmap
import Glibc
import NetmapCore
import Testing

/// A pipe whose master end is driven by control blocks, and whose slave end syncs.
@safe
final class LoopFixture {
  let engine: Engine
  let master: TestPort
  let slave: TestPort
  let memory: UnsafeMutableRawPointer
  let loop: SyncLoop
  private let count: Int

  init(slots: UInt32 = 8, _ settings: SyncLoop.Settings = SyncLoop.Settings()) throws {
    engine = try Engine()
    master = try TestPort(engine, "p{1", flags: .exclusive, hints: .slots(slots))
    slave = try TestPort(engine, "p}1", hints: .slots(slots))
    count = master.mapped.transmitCount + master.mapped.receiveCount
    unsafe memory = .allocate(byteCount: 2 * count * ControlBlock.byteCount, alignment: 64)
    unsafe memory.initializeMemory(
      as: UInt8.self, repeating: 0xee, count: 2 * count * ControlBlock.byteCount)
    let answers = unsafe memory + count * ControlBlock.byteCount
    let blocks = unsafe try #require(ControlBlocks(requests: memory, answers: answers))
    unsafe master.mapped.fill(blocks)
    loop = unsafe try SyncLoop(master.mapped, master.tag, blocks, settings)
  }

  deinit { unsafe memory.deallocate() }

  /// The application's side of a ring: 0 transmits, 1 receives.
  func application(_ index: Int) -> LoopApplication {
    unsafe LoopApplication(
      request: memory + index * ControlBlock.byteCount,
      answer: memory + (count + index) * ControlBlock.byteCount)
  }

  /// One turn without an announcement.
  @discardableResult
  func turn() -> SyncLoop.Turn { loop.turn(nil) }
}

/// The words of a ring's control blocks, as an application accesses them.
@safe
struct LoopApplication {
  let request: UnsafeMutableRawPointer
  let answer: UnsafeMutableRawPointer

  subscript(word: Int) -> UInt32 {
    get { unsafe request.load(fromByteOffset: word, as: UInt32.self) }
    nonmutating set { unsafe request.storeBytes(of: newValue, toByteOffset: word, as: UInt32.self) }
  }

  var head: UInt32 {
    get { self[NM_CSB_ATOK_HEAD_OFFSET] }
    nonmutating set { self[NM_CSB_ATOK_HEAD_OFFSET] = newValue }
  }
  var cur: UInt32 {
    get { self[NM_CSB_ATOK_CUR_OFFSET] }
    nonmutating set { self[NM_CSB_ATOK_CUR_OFFSET] = newValue }
  }
  func move(to slot: UInt32) {
    cur = slot
    head = slot
  }
  var hwcur: UInt32 {
    unsafe answer.load(fromByteOffset: NM_CSB_KTOA_HWCUR_OFFSET, as: UInt32.self)
  }
  var hwtail: UInt32 {
    unsafe answer.load(fromByteOffset: NM_CSB_KTOA_HWTAIL_OFFSET, as: UInt32.self)
  }
  var needsKick: UInt32 {
    unsafe answer.load(fromByteOffset: NM_CSB_KTOA_KERN_NEED_KICK_OFFSET, as: UInt32.self)
  }
}
