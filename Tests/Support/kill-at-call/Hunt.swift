import CTrace
import Glibc
import ProcessFiles

/// Traced processes, and the count of their system calls.
struct Hunt {
  /// The calls that are carried out.
  let limit: Int
  let killsHalf: Bool
  var isCounting: Bool
  private var victims: [pid_t] = []
  private var count = 0

  init(limit: Int, killsHalf: Bool, isCounting: Bool) {
    self.limit = limit
    self.killsHalf = killsHalf
    self.isCounting = isCounting
  }

  /// Begins to trace all threads of a process.
  mutating func seize(_ process: pid_t) {
    victims.append(process)
    for thread in Self.threads(of: process) {
      guard ctrace_seize_family(thread) == 0, ctrace_interrupt(thread) == 0 else {
        KillAtCall.fail("ptrace of \(thread): errno \(errno)")
      }
    }
  }

  /// Lets the victims go on until the limit is reached, or the program has ended.
  ///
  /// - Parameters:
  ///   - program: The program that was started.
  ///   - isVictim: Whether it is the victim.
  /// - Returns: What has happened.
  mutating func run(program: pid_t, isVictim: Bool) -> String {
    while true {
      var status: CInt = 0
      // __WALL: threads, too.
      let thread = unsafe waitpid(-1, &status, 0x4000_0000)
      guard thread > 0 else { return "ended after \(count)" }
      guard status & 0xff == 0x7f else {
        if thread == program { return "ended after \(count)" }
        continue
      }
      let signal = status >> 8 & 0xff
      if status >> 16 != 0 {
        // A new thread, a stop that PTRACE_INTERRUPT has asked for, ...
        _ = ctrace_continue(thread, 1)
      } else if signal == SIGTRAP | 0x80 {
        if let number = reachesLimit(thread) {
          end(thread, program, isVictim)
          return "killed before \(number)"
        }
        _ = ctrace_continue(thread, 1)
      } else {
        _ = ctrace_continue_with(thread, signal)
      }
    }
  }

  /// Counts the call before which a thread stands.
  ///
  /// - Returns: The number of the call, when the limit is reached.
  private mutating func reachesLimit(_ thread: pid_t) -> Int? {
    var entry = ctrace_entry()
    let result = unsafe ctrace_entering(thread, &entry)
    guard result >= 0 else { KillAtCall.fail("ptrace does not tell system calls: errno \(errno)") }
    guard result == 1 else { return nil }
    guard isCounting else {
      isCounting = entry.number == 1 && entry.first == 1
      return nil
    }
    guard count < limit else { return entry.number }
    count += 1
    return nil
  }

  private func end(_ thread: pid_t, _ program: pid_t, _ isVictim: Bool) {
    let own = victims.first { Self.threads(of: $0).contains(thread) }
    for victim in victims where !killsHalf || victim == own { kill(victim, SIGKILL) }
    var status: CInt = 0
    guard !isVictim else {
      // The program's end is reported after the ends of its other threads have been.
      while true {
        let ended = unsafe waitpid(-1, &status, 0x4000_0000)
        if ended < 0 || ended == program && status & 0xff != 0x7f { return }
      }
    }
    // The surviving half goes on untraced when this process ends, which needs a stop of each of its threads.
    for victim in victims where killsHalf && victim != own { release(victim) }
    // What asked them for work fails, or waits for an answer.
    usleep(20_000)
    kill(program, SIGKILL)
    _ = unsafe waitpid(program, &status, 0)
  }

  /// Ends the tracing of a process that lives on.
  private func release(_ process: pid_t) {
    var waiting = Set(Self.threads(of: process))
    for thread in waiting { _ = ctrace_interrupt(thread) }
    let end = ContinuousClock.now + .seconds(5)
    while !waiting.isEmpty, ContinuousClock.now < end {
      for thread in waiting {
        var status: CInt = 0
        let result = unsafe waitpid(thread, &status, 0x4000_0000 | WNOHANG)
        guard result != 0 else { continue }
        _ = ctrace_detach(thread)
        waiting.remove(thread)
      }
      usleep(100)
    }
  }

  private static func threads(of process: pid_t) -> [pid_t] {
    ProcessFiles.entries("/proc/\(process)/task").compactMap { pid_t($0) }
  }
}
