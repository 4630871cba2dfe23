internal import NetmapCore
package import ToolSupport

/// The pkt-gen command, from its arguments to its exit status.
package enum Command {
  /// - Parameters:
  ///   - arguments: The command line, with the program's name or path first.
  ///   - surroundings: The streams and the engine to use.
  ///   - errors: Receives the usage text.
  ///   - stop: Ends the run early.
  /// - Returns: The exit status.
  package static func run(
    _ arguments: [String], _ surroundings: Session.Surroundings, errors: TextSink = .standardError,
    stop: StopRequest = StopRequest()
  ) -> CInt {
    let path = arguments.first ?? "pkt-gen"
    let name = path.split(separator: "/").last.map(String.init) ?? path
    do throws(Refusal) {
      let outcome = try CommandLineReader.read(
        Array(arguments.dropFirst()), program: name, log: surroundings.log)
      switch outcome {
      case .help:
        errors.write(Usage.text)
        return 0
      case .version:
        surroundings.output.line(PackageVersion.line(of: "pkt-gen"))
        return 0
      case .run(let configuration):
        return try Session(configuration, surroundings, stop: stop).run()
      }
    } catch {
      surroundings.log(error.message, function: "main")
      if error.showsUsage {
        errors.write(Usage.text)
      } else {
        surroundings.log("aborting", function: "main")
      }
      return error.status
    }
  }
}
