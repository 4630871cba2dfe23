import CLinux
import CStorm
import Glibc
import NetmapClient
import NetmapCore

/// Episodes `first`, `first + stride`, ... below `end`, each of the given number of steps.
package struct StormEpisodes: Sendable {
  package var seed: UInt64
  package var first: UInt64
  package var stride: UInt64
  package var end: UInt64
  package var steps: Int

  package init(seed: UInt64, first: UInt64, stride: UInt64, end: UInt64, steps: Int) {
    (self.seed, self.first, self.stride) = (seed, first, max(1, stride))
    (self.end, self.steps) = (end, steps)
  }

  package var words: [String] { ["\(seed)", "\(first)", "\(stride)", "\(end)", "\(steps)"] }

  package init?(words: some Collection<String>) {
    let numbers = words.compactMap { UInt64($0) }
    guard numbers.count == 5 else { return nil }
    self.init(
      seed: numbers[0], first: numbers[1], stride: numbers[2], end: numbers[3],
      steps: Int(clamping: numbers[4]))
  }
}

/// A process that makes an attack.
package enum StormAttacker {
  /// Makes each episode in a child process, which may stop or die in it.
  package static func run(_ place: StormPlace, _ board: StormBoard, _ episodes: StormEpisodes)
    throws
  {
    for episode in Swift.stride(from: episodes.first, to: episodes.end, by: Int(episodes.stride)) {
      let child = clinux_fork()
      if child == 0 {
        cstorm_die_with_parent()
        signal(SIGCHLD, SIG_IGN)
        if place.peer == .broker {
          OpenerWalk(place, board).run(seed: episodes.seed, episode: episode, steps: episodes.steps)
        } else {
          StormWalk(place, board).run(seed: episodes.seed, episode: episode, steps: episodes.steps)
        }
        _exit(0)
      }
      try wait(for: child, episode, episodes.seed)
    }
    board[place.slot, .isDone] = 1
  }

  private static func wait(for child: Int32, _ episode: UInt64, _ seed: UInt64) throws {
    var random = StormRandom(seed: seed, episode, .max - 2)
    var status: CInt = 0
    while true {
      let result = waitpid(child, &status, CInt(WUNTRACED))
      if result < 0 && errno == EINTR { continue }
      guard result == child else { throw StormError("waitpid: errno \(errno)") }
      if status & 0xff == 0x7f {
        usleep(UInt32(1000 + random.below(100_000)))
        kill(child, SIGCONT)
        continue
      }
      // The attacker may kill itself. Anything else is its own mistake.
      guard status == 0 || status & 0x7f == SIGKILL else {
        throw StormError("episode \(episode): the attacker ended with status \(status)")
      }
      return
    }
  }

  /// Makes episodes in this process, which is a module host.
  package static func runInHost(
    _ place: StormPlace, _ board: StormBoard, _ episodes: StormEpisodes
  ) {
    let walk = StormWalk(place, board)
    for episode in Swift.stride(from: episodes.first, to: episodes.end, by: Int(episodes.stride)) {
      board[place.slot, .nextEpisode] = episode + episodes.stride
      // A bad message on a connection of the process ends the process.
      let stolen = episode / episodes.stride % 16 == 7 ? connectionsOfProcess() : []
      walk.run(seed: episodes.seed, episode: episode, steps: episodes.steps, stolen: stolen)
    }
    board[place.slot, .isDone] = 1
  }

  /// Copies of the connections to netmapd that this process has.
  private static func connectionsOfProcess() -> [CInt] {
    (3..<CInt(256)).compactMap { file in
      guard clinux_is_message_socket(file) != 0 else { return nil }
      let copy = fcntl(file, CInt(CLINUX_F_DUPFD_CLOEXEC), 256)
      return copy >= 0 ? copy : nil
    }
  }
}
