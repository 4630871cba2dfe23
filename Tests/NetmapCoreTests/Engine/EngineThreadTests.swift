import CLinux
import Glibc
import NetmapCore
import Synchronization
import Testing

@Suite("Threads of the engine")
struct EngineThreadTests {
  /// The CPU affinity of the calling thread, or of the process's first thread.
  private static func affinity(ofProcess: Bool = false) -> [UInt64] {
    var mask = [UInt64](repeating: 0, count: 128)
    let size = UInt(mask.count * 8)
    return unsafe sched_getaffinity(ofProcess ? getpid() : 0, size, &mask) >= 0 ? mask : []
  }

  /// The affinities of a thread that is bound to one CPU, and of the engine thread that it starts.
  private final class Found: Sendable {
    let starter = Mutex<[UInt64]>([])
    let started = Mutex<[UInt64]>([])
  }

  @Test("an engine thread has the process's affinity, not that of the thread that starts it")
  func affinity() throws {
    let everywhere = Self.affinity(ofProcess: true)
    let word = try #require(everywhere.firstIndex { $0 != 0 })
    let found = Found()
    // Bind a separate thread: the current one belongs to the test library.
    let outer = try EngineThread.start("test") {
      var one = [UInt64](repeating: 0, count: 128)
      one[word] = everywhere[word] & ~(everywhere[word] - 1)
      _ = unsafe sched_setaffinity(0, UInt(one.count * 8), &one)
      found.starter.withLock { $0 = Self.affinity() }
      guard
        let inner = try? EngineThread.start(
          "test", { found.started.withLock { $0 = Self.affinity() } })
      else { return }
      pthread_join(inner, nil)
    }
    pthread_join(outer, nil)
    #expect(found.starter.withLock { $0 }.reduce(0) { $0 + $1.nonzeroBitCount } == 1)
    #expect(found.started.withLock { $0 } == everywhere)
  }
}
