import Glibc
import Netmap
import NetmapCore
import StormAttack

/// Loads the attacking module on a switch of its own, again whenever its host has ended.
struct ModuleLoader {
  private let place: StormPlace
  private let board: StormBoard
  private let boardPath: String

  init(_ place: StormPlace, _ board: StormBoard, boardPath: String) {
    self.place = place
    self.board = board
    self.boardPath = boardPath
  }

  func run(_ episodes: StormEpisodes) throws {
    let engine = try HostEngine(socket: place.socket)
    let vale = "vale\(20 + place.slot)"
    var port = try NetmapPort("\(vale):loader", engine: engine)
    board[place.slot, .nextEpisode] = episodes.first
    board[place.slot, .isDone] = 0
    var failures = 0
    while board[place.slot, .isDone] == 0 {
      var next = episodes
      next.first = board[place.slot, .nextEpisode]
      guard next.first < next.end else { break }
      board[place.slot, .process] = 0
      do {
        let configuration = (place.words + next.words + [boardPath]).joined(separator: " ")
        try engine.switches.setModule(
          .loaded(
            path: StormProcess.built("libstorm-module.so"), configuration: configuration,
            fallback: .learning), of: vale)
        failures = 0
      } catch {
        failures += 1
        guard failures < 200 else { throw error }
        usleep(20_000)
        if error.code != .busy {
          port.close()
          port = try NetmapPort("\(vale):loader", engine: engine)
        }
      }
      watch()
      // If the attack has ended its host, it goes on after the episode.
    }
    port.close()
    board[place.slot, .isDone] = 1
  }

  /// Waits until the attacking process has ended; continues it when it has stopped itself.
  private func watch() {
    while board[place.slot, .isDone] == 0 {
      let process = Int32(truncatingIfNeeded: board[place.slot, .process])
      guard process > 0, kill(process, 0) == 0 else { return }
      switch Self.state(of: process) {
      case "T":
        usleep(UInt32(process % 50) * 1000)
        kill(process, SIGCONT)
      case "Z", "X", "": return
      default: usleep(3000)
      }
    }
  }

  private static func state(of process: Int32) -> String {
    let file = open("/proc/\(process)/stat", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return "" }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 256)
    let count = read(file, &bytes, bytes.count)
    let text = String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    return text.split(separator: ")").last?.split(separator: " ").first.map(String.init) ?? ""
  }
}
