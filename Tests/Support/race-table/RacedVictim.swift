import CTrace
import Glibc
import TableSupport

/// A process that repeats its operation while the tracer watches its accesses.
struct RacedVictim {
  let process: pid_t
  private let board: TableBoard

  /// A word in the victim's memory at which the processor stops it.
  struct Watch {
    let address: UInt
    let width: Int
    /// Whether loads do not stop it.
    var storesOnly = false
  }

  /// The processor time that an operation may take.
  static let most = 100_000_000

  /// Waits until the victim stands at the beginning of its first operation.
  init(awaiting process: pid_t, _ board: TableBoard) throws {
    (self.process, self.board) = (process, board)
    var status: CInt = 0
    guard unsafe waitpid(process, &status, 0x4000_0000) == process else {
      throw TableError("waitpid: errno \(errno)")
    }
    guard status & 0xff == 0x7f else {
      throw TableError("the victim did not begin (status \(status)): \(board.text)")
    }
    _ = ctrace_mark_calls(process)
  }

  /// Watches up to four words, and no others.
  func watch(_ watches: [Watch]) throws {
    let addresses = watches.map { UInt($0.address) }
    let widths = watches.map { UInt8($0.width) }
    let stores = watches.map { $0.storesOnly ? UInt8(1) : 0 }
    let outcome = unsafe ctrace_watch(process, addresses, widths, stores, CInt(watches.count))
    guard outcome == 0 else { throw TableError("no watches of memory: errno \(errno)") }
  }

  /// Lets the victim do its operation once.
  ///
  /// - Parameter body: Called right after each access to a watched word, with one bit for each watch.
  /// - Throws: ``TableError`` when the victim has ended or does not complete its operation.
  func operate(_ body: (Int) -> Void) throws {
    let begin = ctrace_cpu_time(process)
    let clock = ContinuousClock.now
    guard ctrace_continue(process, 0) == 0 else { throw TableError("ptrace: errno \(errno)") }
    while true {
      let status = ctrace_await(process)
      if status == -1 {
        let time = ctrace_cpu_time(process) - begin
        try expect(time < Self.most, "the operation has not ended after \(time / 1_000_000) ms")
        try expect(clock.duration(to: .now) < .seconds(20), "the operation sleeps for ever")
        continue
      }
      guard status & 0xff == 0x7f else {
        throw TableError("the victim has ended (status \(status)): \(board.text)")
      }
      switch status >> 8 & 0xff {
      case SIGSTOP: return
      case SIGTRAP:
        let hits = Int(ctrace_hits(process))
        try expect(hits > 0, "the victim traps at \(String(ctrace_place(process), radix: 16))")
        body(hits)
      case SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS:
        throw TableError(
          "signal \(status >> 8 & 0xff) at \(String(ctrace_place(process), radix: 16))")
      default: break
      }
      guard ctrace_continue(process, 0) == 0 else { throw TableError("ptrace: errno \(errno)") }
    }
  }

  /// The address of the instruction after the one that has accessed a watched word.
  var place: UInt { UInt(ctrace_place(process)) }

  /// Whether the instruction before an address loads a word and stores to it in one step.
  func isExchange(before place: UInt) -> Bool {
    var bytes = [UInt8](repeating: 0, count: 12)
    guard unsafe ctrace_read(process, place - 12, &bytes, 12) == 12 else { return false }
    // A `lock` prefix before an optional REX prefix, or the opcode of `xchg`.
    for index in 2..<9 where bytes[index] == 0xf0 {
      let next = bytes[index + 1] & 0xf0 == 0x40 ? bytes[index + 2] : bytes[index + 1]
      if [0x0f, 0x01, 0x09, 0x21, 0x29, 0x31, 0x81, 0x83, 0xff].contains(next) { return true }
    }
    return (6..<11).contains { bytes[$0] == 0x87 && bytes[$0 + 1] & 0xc0 != 0xc0 }
  }
}
