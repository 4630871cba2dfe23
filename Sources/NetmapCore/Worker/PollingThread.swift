internal import CLinux
internal import Glibc
internal import Synchronization

/// A polling thread, which looks at lanes all the time on one CPU.
final class PollingThread: Sendable {
  private let lanes: [InterfaceLane]
  private let worker: Worker
  private let isStopping = Atomic<Bool>(false)

  /// Takes lanes over from the worker.
  ///
  /// - Parameters:
  ///   - lanes: Lanes that no other polling thread has.
  ///   - cpu: The CPU to run on; see ``check(cpu:)``.
  ///   - worker: Gets the lanes back when the thread stops or the interface has disappeared.
  /// - Throws: ``NetmapError`` when no thread can be created.
  init(_ lanes: [InterfaceLane], cpu: Int, worker: Worker) throws(NetmapError) {
    self.lanes = lanes
    self.worker = worker
    for lane in lanes { lane.isPolled.store(true, ordering: .releasing) }
    do throws(NetmapError) {
      pthread_detach(
        try EngineThread.start("polling") { [self] in
          _ = Self.pin(to: cpu)
          run()
        })
    } catch {
      giveBack()
      throw error
    }
  }

  /// Asks the thread to end, which it does within one turn of its lanes.
  func stop() { isStopping.store(true, ordering: .releasing) }

  private func run() {
    while !isStopping.load(ordering: .acquiring), !lanes.contains(where: \.hasFailed) {
      for lane in lanes { _ = lane.carry() }
    }
    giveBack()
  }

  private func giveBack() {
    for lane in lanes { lane.isPolled.store(false, ordering: .releasing) }
    worker.wake()
  }

  /// Checks that threads of this process may run on a CPU.
  ///
  /// The calling thread runs on that CPU for a moment.
  ///
  /// - Throws: ``NetmapError`` `EINVAL` when they may not.
  static func check(cpu: Int) throws(NetmapError) {
    var former = [UInt64](repeating: 0, count: 16)
    let size = UInt(former.count * 8)
    let hasFormer = unsafe sched_getaffinity(0, size, &former) >= 0
    let code = pin(to: cpu)
    if code == 0, hasFormer { _ = unsafe sched_setaffinity(0, size, &former) }
    guard code == 0 else {
      throw NetmapError(
        .invalidArgument, "poll", "CPU \(cpu)", reason: unsafe String(cString: strerror(code)),
        remedy:
          "see /sys/devices/system/cpu/online, and the CPUs that this process may use (taskset -p)")
    }
  }

  /// Binds the calling thread to a CPU.
  ///
  /// - Returns: 0 or an `errno`.
  private static func pin(to cpu: Int) -> CInt {
    var mask = [UInt64](repeating: 0, count: 16)
    guard cpu >= 0, cpu < mask.count * 64 else { return EINVAL }
    mask[cpu / 64] = 1 << UInt64(cpu % 64)
    return unsafe sched_setaffinity(0, UInt(mask.count * 8), &mask) == 0 ? 0 : errno
  }
}
