import Glibc
import Netmap
import NetmapCore
import StormAttack

/// A switch module that attacks netmapd from its host process: its configuration says how.
struct StormModule: ~Copyable, SwitchModule {
  static var name: String { "storm-module" }

  init(configuration: String) throws(NetmapError) {
    let words = configuration.split(separator: " ").map(String.init)
    guard words.count == 12, let place = StormPlace(words: words[0..<6]),
      let episodes = StormEpisodes(words: words[6..<11]), let board = try? StormBoard(words[11])
    else {
      throw NetmapError(
        .invalidArgument, "configure", Self.name, reason: "'\(configuration)' is no attack")
    }
    board[place.slot, .process] = UInt64(getpid())
    pthread_detach(
      try EngineThread.start("storm") {
        // The host opens its port first.
        usleep(20_000)
        StormAttacker.runInHost(place, board, episodes)
      })
  }

  func lookup(_ batch: borrowing SwitchBatch) {
    batch.route { _ in .broadcast }
  }
}

@c(netmap_switch_module)
public func netmapSwitchModule() -> UnsafeRawPointer {
  unsafe SwitchModuleLibrary.table(of: StormModule.self)
}
