internal import Glibc
internal import PktGenCore

/// netmap's packet generator; see pkt-gen(1).
@main
enum PktGen {
  static func main() {
    exit(Command.run(CommandLine.arguments, Session.Surroundings(handlesSignals: true)))
  }
}
