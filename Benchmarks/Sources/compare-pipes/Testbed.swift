internal import Foundation
internal import Netmap
internal import PipeReference
internal import Synchronization

/// The testbed: two pipes, each measured by two threads that are bound to CPUs.
///
/// Each turn starts new threads; both ends of both pipes live as long as the testbed.
final class Testbed {
  private let sender: NetmapPort
  private let receiver: NetmapPort
  private let cpus: (Int, Int)

  /// Warm-up before each turn in seconds: reloads the slots and buffers that the other loop's turn evicted from
  /// the caches.
  private static let warmUp = 0.001

  init(cpus: (Int, Int)) throws {
    let engine = try EmbeddedEngine()
    sender = try NetmapPort("netmap:pairs{1", engine: engine)
    receiver = try NetmapPort("netmap:pairs}1", engine: engine)
    self.cpus = cpus
    guard pipe_reference_make() else {
      throw BenchError("the C program's pipe: \(unsafe String(cString: strerror(errno)))")
    }
  }

  deinit { pipe_reference_free() }

  /// - Returns: Millions of packets per second of this package.
  func measure<P: Payload & SendableMetatype>(
    _: P.Type, batch: Int, frameBytes: Int, _ seconds: Double
  ) throws -> Double {
    let control = Control()
    let result = Mutex(Turn())
    let problem = Mutex<(any Error)?>(nil)
    let (first, second) = (Held(port: sender), Held(port: receiver))
    let threads = [
      Self.worker(on: cpus.0) {
        control.waitForStart()
        var progress = Progress()
        do {
          try PipeLoops<P>.send(
            first.port, batch: batch, length: frameBytes, upTo: .max, control, &progress)
        } catch { problem.withLock { $0 = error } }
      },
      Self.worker(on: cpus.1) {
        control.waitForStart()
        var (progress, payload) = (Progress(), P())
        do {
          try PipeLoops.receive(
            second.port, batch: batch, upTo: .max, control, during: .warming, &progress, &payload)
          let (start, before) = (monotonicNanoseconds(), progress.packets)
          try PipeLoops.receive(
            second.port, batch: batch, upTo: .max, control, during: .measuring, &progress, &payload)
          let (end, after, digest) = (monotonicNanoseconds(), progress.packets, payload.digest)
          result.withLock {
            $0 = Turn(packets: after - before, nanoseconds: end - start, digest: digest)
          }
        } catch { problem.withLock { $0 = error } }
      },
    ]
    control.start(2, in: .warming)
    sleepThread(seconds: Self.warmUp)
    control.advance(from: .warming, to: .measuring)
    sleepThread(seconds: seconds)
    control.enter(.stopped)
    for thread in threads { thread.wait() }
    if let error = problem.withLock({ $0 }) { throw error }
    return result.withLock { $0 }.rate
  }

  /// - Returns: Millions of packets per second of a loop in C.
  func measureC(_ options: pipe_options, _ seconds: Double) -> Double {
    let start = Control()
    let result = Mutex(Turn())
    pipe_reference_configure(options)
    pipe_reference_enter(PIPE_WARMING)
    let threads = [
      Self.worker(on: cpus.0) {
        start.waitForStart()
        var progress = pipe_progress()
        unsafe pipe_reference_send(&progress)
      },
      Self.worker(on: cpus.1) {
        start.waitForStart()
        var progress = pipe_progress()
        unsafe pipe_reference_receive(PIPE_WARMING, &progress)
        let (begin, before) = (monotonicNanoseconds(), progress.packets)
        unsafe pipe_reference_receive(PIPE_MEASURING, &progress)
        let (end, after, digest) = (monotonicNanoseconds(), progress.packets, progress.digest)
        result.withLock {
          $0 = Turn(packets: after - before, nanoseconds: end - begin, digest: digest)
        }
      },
    ]
    start.start(2, in: .warming)
    sleepThread(seconds: Self.warmUp)
    pipe_reference_enter(PIPE_MEASURING)
    sleepThread(seconds: seconds)
    pipe_reference_enter(PIPE_STOPPED)
    for thread in threads { thread.wait() }
    return result.withLock { $0 }.rate
  }

  /// Starts a thread that is bound to a CPU.
  static func worker(
    on cpu: Int, _ body: @escaping @Sendable () -> Void
  ) -> DispatchSemaphore {
    let done = DispatchSemaphore(value: 0)
    Thread.detachNewThread {
      _ = pipe_reference_pin(CInt(cpu))
      body()
      done.signal()
    }
    return done
  }
}

/// The result of one turn.
private struct Turn {
  var packets: UInt64 = 0
  var nanoseconds: UInt64 = 1
  /// The payload's digest, kept so that the compiler does not remove the reads.
  var digest: UInt64 = 0

  var rate: Double { Double(packets) * 1e3 / Double(nanoseconds) }
}

/// Transfers a port to the one thread that uses it during a turn.
private struct Held: @unchecked Sendable {
  let port: NetmapPort
}
